"""What a client of Spark Connect and its server tell each other is read nowhere; without `confide`, on every hop."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from .test_canary import TABLES, command_line, key_values, needles, watched, write_tables

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.spark,
    pytest.mark.canary,
    pytest.mark.skipif(os.geteuid() != 0, reason="packet capture and fanotify need root"),
]

__all__ = ["needles"]

CLIENT = Path(__file__).with_name("connect_client.py")
DONE = ("literal 20000", "local 2000", "collected 1000 50", "functions 20000")


@pytest.fixture(scope="module")
def control(tmp_path_factory, needles) -> dict:
    folder = tmp_path_factory.mktemp("control")
    write_tables(folder / "plain", needles)
    (folder / "data").mkdir()
    for table in TABLES:
        (folder / "plain" / f"{table}.parquet").rename(folder / "data" / table)
    argv = [sys.executable, str(CLIENT), "plain"]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable}
    return watched(folder, {"argv": argv, "cwd": str(folder), "env": environment, "needles": needles})


@pytest.fixture(scope="module")
def confined(tmp_path_factory, needles) -> dict:
    folder, source = tmp_path_factory.mktemp("confined"), tmp_path_factory.mktemp("owner")
    write_tables(source / "plain", needles)
    confide = command_line(folder, source, needles["PASSPHRASE"])
    confide("init", "clinic")
    confide("key", "create", "clinic/patients")
    grants = []
    for table in ("people", "literal", "parallel"):
        confide(
            "encrypt", str(source / "plain" / f"{table}.parquet"), f"data/{table}", "--key", "clinic/patients"
        )
        grants += ["--read", f"data/{table}"]
    (folder / "analysts.toml").write_text('version = 1\nserver = "connect"\npython_functions = true\n')
    confide("policy", "allow", "analysts.toml", *grants, "--requests", "clinic/patients")
    confide("policy", "apply", "policy.toml")
    (folder / "analysts.accept.toml").write_text(confide("spark", "accept", "analysts"))
    token = confide("spark", "token", "clinic/patients").strip()
    (source / "token").write_text(token)
    spec = {
        "argv": [sys.executable, str(CLIENT), "confined", str(source / "token")],
        "cwd": str(folder),
        "env": {**os.environ, "CONFIDE_HOME": str(source / "home")},
        "needles": {**needles, "TOKEN OF CLIENTS": token},
        "keys": key_values(source, needles["PASSPHRASE"]),
        "input": needles["PASSPHRASE"],
    }
    return watched(folder, spec)


def test_both_did_the_same_work(control, confined):
    assert control["exit_code"] == confined["exit_code"] == 0, control["output"] + confined["output"]
    for line in DONE:
        assert line in control["output"], control["output"]
        assert line in confined["output"], confined["output"]
    assert "server ended with 0" in confined["output"]


def test_the_control_leaks(control):
    assert set(control["hits"].get("traffic", {})) >= {"DATA", "PARALLEL", "LITERAL"}, control["searched"]


@pytest.mark.parametrize("place", ["files", "traffic", "interface", "output", "cmdline", "environ"])
def test_the_confined_server_and_its_client_leave_nothing(confined, place):
    print(f"searched {confined['searched']}")
    assert confined["hits"].get(place, {}) == {}, confined["where"].get(place)
