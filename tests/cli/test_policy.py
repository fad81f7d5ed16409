"""Policies on the command line: allow, check, apply; and everything that must be refused."""

from __future__ import annotations

import json

import pytest

from confide.broker.policy import parse_policy
from confide.cli.policy_document import grant, open_document, put_workload
from confide.errors import Misuse

GOOD = """
version = 1
owner = "clinic"
serial = {serial}
not_before = 2026-01-01T00:00:00Z
not_after = 2036-01-01T00:00:00Z
[[workload]]
name = "study"
tee = "simulated"
measurements = ["{measurement}"]
[[grant]]
workload = "study"
location = "data/patients"
access = "read"
format = "table"
key = "clinic/patients"
"""


def write(line, text: str) -> None:
    (line.folder / "policy.toml").write_text(text)


def good(serial: int = 1) -> str:
    return GOOD.format(serial=serial, measurement="a" * 64)


def test_a_good_policy_comes_into_force(clinic):
    write(clinic, good())
    clinic.ok("policy", "check", "policy.toml")
    clinic.ok("policy", "apply", "policy.toml")
    shown = json.loads(clinic.ok("policy", "show", "--json").out)
    assert [(p["owner"], p["serial"]) for p in shown] == [("clinic", 1)]


def test_every_fault_is_reported_at_once_with_its_line(clinic):
    text = good().replace('access = "read"', 'access = "steal"').replace("a" * 64, "zz")
    text = text.replace('workload = "study"', 'workload = "nobody"') + 'colour = "blue"\n'
    write(clinic, text)
    said = clinic("policy", "check", "policy.toml")
    assert said.code == 65
    lines = text.splitlines()
    for needle in ("steal", "zz", "nobody", "colour"):
        number = next(i for i, line in enumerate(lines, 1) if needle in line)
        assert f"line {number}" in said.err, said.err
    assert clinic("policy", "apply", "policy.toml").code == 65


def test_an_empty_policy_is_refused(clinic):
    write(clinic, "")
    assert clinic("policy", "check", "policy.toml").code == 65


def test_not_toml(clinic):
    write(clinic, "owner = [")
    said = clinic("policy", "check", "policy.toml")
    assert said.code == 65
    assert "line 1" in said.err


def test_an_older_policy_put_back(clinic):
    write(clinic, good(serial=5))
    clinic.ok("policy", "apply", "policy.toml")
    write(clinic, good(serial=4))
    said = clinic("policy", "apply", "policy.toml")
    assert said.code == 88
    assert "hint:" in said.err


def test_the_same_serial_with_another_text(clinic):
    write(clinic, good(serial=5))
    clinic.ok("policy", "apply", "policy.toml")
    write(clinic, good(serial=5) + "# changed\n")
    assert clinic("policy", "apply", "policy.toml").code == 88


def test_a_policy_of_an_owner_who_is_not_here(clinic):
    write(
        clinic,
        good().replace('owner = "clinic"', 'owner = "bank"').replace("clinic/patients", "bank/patients"),
    )
    said = clinic("policy", "apply", "policy.toml")
    assert said.code != 0
    assert "bank" in said.err


def test_no_policy_releases_nothing_and_says_so(clinic):
    assert "nothing is released" in clinic.ok("policy", "show").err


def test_the_audit_log_has_what_happened_and_verifies(clinic):
    write(clinic, good())
    clinic.ok("policy", "apply", "policy.toml")
    kinds = [entry["kind"] for entry in json.loads(clinic.ok("audit", "--json").out)]
    assert kinds == ["owner", "host", "key-create", "encrypt", "policy"]
    first = json.loads(clinic.ok("audit", "verify", "--json").out)
    clinic.ok("key", "rotate", "clinic/patients")
    second = json.loads(clinic.ok("audit", "verify", "--json").out)
    assert first["size"] == 5
    assert second == {"size": 6, "root": second["root"], "extends": 5}


def test_a_changed_audit_log_is_noticed(clinic):
    import sqlite3

    clinic.ok("audit", "verify")
    with sqlite3.connect(clinic.home / "store.db") as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(audit_entry)")]
        assert columns
        database.execute("UPDATE audit_entry SET leaf = replace(leaf, 'clinic', 'klinik')")
    said = clinic("audit", "verify")
    assert said.code == 90, said.err
    assert "hint:" in said.err


def test_run_never_simulates_unasked(clinic):
    (clinic.folder / "job.py").write_text("print(1)\n")
    said = clinic("run", "job.py")
    assert said.code == 74  # this machine is a guest of none
    assert "--tee simulated" in said.err
    said = clinic("run", "--tee", "sgx", "--profile", "python", "job.py")
    assert said.code == 74


def test_a_policy_that_has_expired_or_is_not_valid_yet_says_so(clinic):
    expired = good().replace("2036-", "2026-").replace("2026-01-01T00:00:00Z", "2020-01-01T00:00:00Z", 1)
    write(clinic, expired)
    for command in ("check", "apply"):
        assert "expired 2026-01-01, so nothing is released" in clinic.ok("policy", command).err
    write(clinic, good(2).replace("2026-", "2035-"))
    assert "not valid before 2035-01-01" in clinic.ok("policy", "apply").err
    write(clinic, good(3))
    assert "valid until 2036-01-01" in clinic.ok("policy", "apply").err


def test_streams_are_granted_to_read_and_to_write(tmp_path):
    document = open_document(tmp_path / "policy.toml", "clinic", 0, 1)
    put_workload(
        document, "job", tee="simulated", measurements={"driver": "a" * 64}, logs="clinic/logs", platform=None
    )
    grant(document, "job", "rediss://redis.example:6380/pulses=clinic/pulses", "stream", "read")
    grant(document, "job", "rediss://redis.example:6380/alarms=clinic/results", "stream", "write")
    pulses, alarms = parse_policy(document.as_string().encode()).grant
    assert (pulses.location, pulses.access, pulses.format, pulses.key) == (
        "rediss://redis.example:6380/pulses",
        "read",
        "stream",
        "clinic/pulses",
    )
    assert (alarms.access, alarms.format) == ("write", "stream")
    with pytest.raises(Misuse, match="LOCATION=KEY"):
        grant(document, "job", "rediss://redis.example:6380/pulses", "stream", "read")


def test_allowing_without_a_grant_says_what_is_missing(clinic):
    (clinic.folder / "job.py").write_text("print(1)\n")
    said = clinic.ok("policy", "allow", "--profile", "python", "job.py", "--logs", "clinic/patients")
    assert "give --read or --write" in said.err
    assert clinic("policy", "apply", "policy.toml").code == 65
    more = ("--logs", "clinic/patients", "--write", "out/x=clinic/patients")
    assert "look at it, then" in clinic.ok("policy", "allow", "--profile", "python", "job.py", *more).err
    clinic.ok("policy", "apply", "policy.toml")
