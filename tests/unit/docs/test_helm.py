"""The chart of the broker, as Helm would fill it in, against the published schemas of Kubernetes."""

from __future__ import annotations

import re
from pathlib import Path

import kubernetes_validate
import pytest
import typer.main
import yaml

from confide.cli.app import app

CHART = Path(__file__).parents[3] / "deploy/helm/confide-broker"
TEMPLATES = sorted((CHART / "templates").glob("*.yaml"))
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
VERSIONS = ("1.33", "1.37")
_ACTION = re.compile(r"\{\{(.*?)\}\}")


def filled(template: Path) -> dict:
    """Fill in what the templates use of Helm's language: values and the release's name, and nothing else."""
    known = {".Release.Name": "kbs", **{f".Values.{name}": value for name, value in VALUES.items()}}
    return yaml.safe_load(_ACTION.sub(lambda found: str(known[found[1].strip()]), template.read_text()))


def test_the_chart_is_named():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["apiVersion"] == "v2"
    assert chart["name"] == CHART.name


def test_every_value_is_used_and_every_one_used_is_there():
    used = {found.strip() for path in TEMPLATES for found in _ACTION.findall(path.read_text())}
    assert used == {".Release.Name", *(f".Values.{name}" for name in VALUES)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_objects_are_of_their_schema(template, version):
    kubernetes_validate.validate(filled(template), version, strict=True)


def test_a_fault_would_be_found():
    broken = filled(CHART / "templates/service.yaml")
    broken["spec"]["ports"][0]["port"] = "https"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


def test_no_secret_is_in_an_argument_or_an_environment():
    pod = filled(CHART / "templates/broker.yaml")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert "env" not in container
    assert "envFrom" not in container
    assert not any("passphrase" in each for each in container["args"] if each != "--passphrase-fd")
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False


def test_it_runs_a_command_that_there_is():
    pod = filled(CHART / "templates/broker.yaml")["spec"]["template"]["spec"]
    words = [word for word in pod["containers"][0]["args"] if word.startswith("--")]
    root = typer.main.get_command(app)
    known = {
        option
        for part in (root, root.commands["broker"].commands["serve"])
        for p in part.params
        for option in p.opts
    }
    assert set(words) <= known
