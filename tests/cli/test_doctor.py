"""`confide doctor`, and what every command owes its user."""

from __future__ import annotations

import json

import pytest


def test_doctor_reports_this_machine(confide):
    said = confide("doctor", "--json")
    states = {finding["what"]: finding["state"] for finding in json.loads(said.out)}
    assert states["Python"] == "ok"
    assert states["evidence"] in ("ok", "not here")
    assert said.code == (74 if "missing" in states.values() else 0)


@pytest.mark.parametrize("group", ["key", "policy", "image", "audit", "broker"])
def test_every_group_shows_an_example(confide, group):
    assert "Example:" in confide(group, "--help").out


def test_faults_of_a_policy_as_json(confide):
    (confide.folder / "policy.toml").write_text("version = 2\nowner = 7\n")
    document = json.loads(confide("policy", "check", "policy.toml", "--json").out)
    assert document["exit_code"] == 65
    assert {fault["line"] for fault in document["faults"]} >= {1, 2}


def test_an_unknown_option_is_not_taken_for_the_program(confide):
    said = confide("run", "--memroy", "4g", "--tee", "simulated", "job.py")
    assert said.code == 2
    assert "--memroy" in said.err
