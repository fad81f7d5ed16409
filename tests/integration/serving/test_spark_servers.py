"""Spark's servers from the owner's folder to a client that is not ours."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from confide.spark.client import connect

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.exhaustive]

CANARY = "canary-7f3a91"
PATIENTS = f"name,ward,age\n{CANARY}-a,north,40\n{CANARY}-b,north,60\n{CANARY}-c,south,70\n"


@pytest.fixture(scope="module")
def token(owner) -> str:
    for key in ("patients", "results", "analysts"):
        owner.ok("key", "create", f"clinic/{key}")
    (owner.folder / "patients.csv").write_text(PATIENTS)
    owner.ok("encrypt", "patients.csv", "data/patients", "--key", "clinic/patients")
    owner.ok("encrypt", "patients.csv", "data/others", "--key", "clinic/patients")
    return owner.ok("spark", "token", "clinic/analysts").strip()


def allow(owner, program: str, text: str) -> None:
    (owner.folder / program).write_text(text)
    owner.ok(
        *("policy", "allow", program, "--read", "data/patients", "--write", "out/report=clinic/results"),
        *("--requests", "clinic/analysts", "--logs", "clinic/logs"),
    )
    owner.ok("policy", "apply", "policy.toml")


def accept(owner, workload: str) -> Path:
    path = owner.folder / f"{workload}.accept.toml"
    path.write_text(owner.ok("spark", "accept", workload))
    return path


def readable(folder: Path) -> list[Path]:
    """Return the files in which planted values can be read."""
    return [path for path in folder.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


def test_spark_connect(owner, token, monkeypatch):
    # `connect` sets it for the rest of the process; other tests are no clients.
    monkeypatch.setenv("SPARK_CONNECT_MODE_ENABLED", "1")
    allow(owner, "analysts.toml", 'version = 1\nserver = "connect"\n')
    server = owner.start("spark", "connect", "analysts.toml")
    accepted = accept(owner, "analysts")
    spark = connect(server.url, accepted, token)
    patients = spark.read.parquet("data/patients")
    assert {tuple(row) for row in patients.groupBy("ward").avg("age").collect()} == {
        ("north", 50),
        ("south", 70),
    }
    patients.where("age > 50").write.mode("overwrite").parquet("out/report")
    with pytest.raises(Exception, match="NoGrant"):
        spark.read.parquet("data/others").count()
    with pytest.raises(Exception, match="NoGrant"):
        patients.write.parquet("out/elsewhere")

    # Committed elsewhere meanwhile, under a new version of the key: read as it is now.
    (owner.folder / "patients.csv").write_text(PATIENTS + f"{CANARY}-d,south,90\n")
    owner.ok("key", "rotate", "clinic/patients")
    owner.ok("encrypt", "patients.csv", "data/patients", "--key", "clinic/patients", "--replace")
    assert (
        spark.read.parquet("data/patients").where("ward = 'south'").agg({"age": "max"}).collect()[0][0] == 90
    )

    _unmodified_program(owner, server, accepted, token)
    spark.stop()  # a client goes on asking a server that is gone, for minutes
    assert server.stop() == 0
    owner.ok("decrypt", "out/report", "report.csv")
    with (owner.folder / "report.csv").open(newline="") as report:
        rows = {tuple(row.values()) for row in csv.DictReader(report)}
    assert rows == {(f"{CANARY}-b", "north", "60"), (f"{CANARY}-c", "south", "70")}
    assert not readable(owner.folder / "data")
    assert not readable(owner.folder / "out")
    assert token not in "".join(server.said)
    assert token not in owner.ok("logs")


def _unmodified_program(owner, server, accepted, token):
    """A program that knows nothing of confide, as `pyspark --remote` runs it."""
    authority = owner.folder / "ca.pem"
    said = owner.ok("spark", "verify", server.url, "--accept", str(accepted), "--json")
    authority.write_text(json.loads(said)["authority"])
    program = (
        "from pyspark.sql import SparkSession; print(SparkSession.builder.getOrCreate().range(7).count())"
    )
    environment = {
        **os.environ,
        "SPARK_REMOTE": f"{server.url}/;use_ssl=true",
        "SPARK_CONNECT_AUTHENTICATE_TOKEN": token,
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(authority),
    }
    argv = [sys.executable, "-c", program]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "7", done.stderr


def test_a_server_that_was_changed_gets_no_keys(owner, token):
    (owner.folder / "changed.toml").write_text('version = 1\nserver = "connect"\npython_functions = true\n')
    code, said = owner.run(
        "spark", "connect", "changed.toml", "--tee", "simulated", "--listen", "127.0.0.1:0"
    )
    assert code == 86, said


def test_the_command_serves_what_the_file_says(owner):
    (owner.folder / "sql.toml").write_text('version = 1\nserver = "sql"\n')
    code, said = owner.run("spark", "connect", "sql.toml", "--tee", "simulated")
    assert code == 64, said
    assert 'server = "sql"' in said
