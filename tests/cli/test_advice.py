"""Messages that tell what to do next."""

from __future__ import annotations

import io
import os
from types import SimpleNamespace

import pytest
import rich.console

from confide.cli import output
from confide.cli.run import Report, _declaration


@pytest.mark.parametrize("chosen", [b"", b"short"])
def test_a_short_passphrase_is_misuse(confide, tmp_path, chosen):
    (tmp_path / "short").write_bytes(chosen)
    descriptor = os.open(tmp_path / "short", os.O_RDONLY)
    said = confide("init", "clinic", descriptor=descriptor)
    os.close(descriptor)
    assert said.code == 64
    assert "choose at least 8 characters" in said.err


def test_a_home_that_exists_is_kept(clinic):
    said = clinic("init", "clinic")
    assert said.code == 68
    assert "use it, or give --home" in said.err
    assert "remove" not in said.err


def test_existing_targets_name_replace(clinic):
    said = clinic("encrypt", "patients.csv", "data/patients", "--key", "clinic/patients")
    assert (said.code, "--replace" in said.err) == (68, True)
    (clinic.folder / "out.csv").touch()
    said = clinic("decrypt", "data/patients", "out.csv")
    assert (said.code, "--replace" in said.err) == (68, True)


def test_a_key_of_an_owner_elsewhere(clinic):
    said = clinic("key", "create", "other/x")
    assert (said.code, "no owner `other` (owners: clinic)" in said.err) == (64, True)


def test_revoking_without_a_terminal(clinic):
    said = clinic("key", "revoke", "clinic/patients")
    assert (said.code, "give --yes" in said.err) == (64, True)
    assert clinic("key", "revoke", "clinic/none", "--yes").code == 82
    assert clinic("key", "revoke", "clinic/patients", "--version", "2", "--yes").code == 82


@pytest.mark.parametrize(
    ("options", "code", "word"),
    [
        (("--tee", "sgx"), 74, "SGX"),
        (("--tee", "simulated"), 64, "--broker"),
        (("--tee", "simulated", "--broker", "http://kbs:1", "--broker-ca", "ca.pem"), 64, "https URL"),
        (("--tee", "simulated", "--broker", "https://kbs:1", "--broker-ca", "ca.pem"), 64, "identity --host"),
    ],
)
def test_a_run_that_cannot_be_is_refused_before_anything_is_built(confide, options, code, word):
    (confide.folder / "ca.pem").write_text("-----BEGIN CERTIFICATE-----")
    said = confide("run", *options, "absent.py")
    assert (said.code, word in said.err) == (code, True), said.err


@pytest.mark.parametrize(
    ("logs", "kept", "why"), [(True, "sealed for the owner", True), (False, "names no logs key", False)]
)
def test_a_run_says_whether_its_output_is_kept(capsys, logs, kept, why):
    told = Report("simulated", quiet=False)
    for status in ({"state": "released", "logs": logs}, {"state": "started"}):
        told.status(status)
    told.status({"state": "finished", "exit_code": 1})
    said = capsys.readouterr().err
    assert kept in said
    assert ("why: `confide logs`" in said) == why


def test_the_steps_of_a_training_are_shown_as_numbers_and_as_nothing_else(capsys):
    told = Report("simulated", quiet=False)
    for done, total in ((0, 3), (1, 3), ("[bold]2", 3), (2, None), (3, 3)):
        told.status({"state": "progress", "done": done, "total": total, "text": "patient 7"})
    told.steps.close()
    assert capsys.readouterr().err.splitlines() == ["0 of 3 steps", "1 of 3 steps", "3 of 3 steps"]
    assert told.states == []


def test_on_a_terminal_the_steps_are_a_bar(monkeypatch):
    screen = io.StringIO()
    terminal = rich.console.Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr(output, "stderr", terminal)
    steps = output.Steps()
    for done in range(4):
        steps(done, 3)
    steps.close()
    assert "3/3" in screen.getvalue()
    assert screen.getvalue().count("\x1b[?25l") == screen.getvalue().count("\x1b[?25h")  # the cursor is back


def test_an_undeclared_argument_is_shown_as_a_line_to_paste():
    image = SimpleNamespace(args=("[a-z]+",))
    assert _declaration(image, ("abc",)) is None
    assert '`# args = ["[a-z]+", "--year=2013"]`' in str(_declaration(image, ("abc", "--year=2013")))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--master", "local[4]"), "--cores N"),
        (("--master", "spark://master:7077"), "--workers N"),
        (("--master", "k8s://https://cluster"), "--dry-run k8s"),
        (("--master", "yarn"), "--workers N"),
        (("--master", "local-cluster[2,1,1024]"), "spark.master=local-cluster"),
        (("--master", "mesos://x"), "knows no such master"),
        (("--deploy-mode", "cluster"), "--dry-run k8s"),
        (("--num-executors", "2"), "--workers N"),
        (("--packages", "a:b:1"), "--jars"),
    ],
)
def test_habits_of_spark_submit(clinic, options, word):
    said = clinic("run", *options, "--tee", "simulated", "job.py")
    assert (said.code, word in said.err) == (64, True), said.err
    assert options[0] not in clinic("run", "--help").out
    said = clinic("policy", "allow", *options, "job.py")
    assert (said.code, word in said.err) == (64, True), said.err
