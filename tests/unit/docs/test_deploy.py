"""Container files: linted, of pinned bases, without root, and of files that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "deploy").glob("*.Containerfile"))
COMPOSE = ROOT / "deploy" / "compose.yaml"


def instructions(path: Path) -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()]


def test_there_is_one_for_the_broker_and_for_each_profile():
    from confide.cli.programs import PROFILES

    assert {path.name.removesuffix(".Containerfile") for path in FILES} == {"broker", *PROFILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(path):
    tool = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([tool, "--no-color", path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_pinned_without_root_and_every_source_exists(path):
    found = instructions(path)
    bases = [rest for name, rest in found if name == "FROM"]
    assert len(bases) == 1
    assert re.fullmatch(r"debian:bookworm-[0-9]{8}-slim", bases[0])
    assert [rest for name, rest in found if name == "USER"] == ["1000"]
    carried = (ROOT / ".dockerignore").read_text().splitlines()
    for name, rest in found:
        if name == "COPY":
            *sources, _ = rest.split()
            for source in sources:
                assert (ROOT / source).exists(), source
                assert f"!{source}" in carried, source


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_uv_is_the_one_of_set_up(path):
    version = re.search(r"^UV_VERSION=(\S+)$", (ROOT / "scripts" / "setup.sh").read_text(), re.MULTILINE)
    assert version
    assert f'"uv=={version[1]}"' in path.read_text()


def test_compose_gives_devices_alone_and_no_privilege():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for name, service in services.items():
        assert service.keys() <= {
            *("build", "command", "entrypoint", "secrets", "volumes", "read_only", "tmpfs", "cap_drop"),
            *("security_opt", "depends_on", "devices", "group_add"),
        }, name
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
        assert (COMPOSE.parent / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert services["runner"]["devices"] == ["/dev/sgx_enclave", "/dev/sgx_provision"]
    assert "devices" not in services["broker"]


def test_compose_runs_commands_that_there_are(capsys):
    import typer.main

    from confide.cli.app import app

    command = yaml.safe_load(COMPOSE.read_text())["services"]["runner"]["command"]
    known = {option for each in typer.main.get_command(app).commands["run"].params for option in each.opts}
    assert {part.partition("=")[0] for part in command if part.startswith("--")} <= known
