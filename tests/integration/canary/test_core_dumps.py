"""A killed process of a confined run leaves no core file; one of plain Spark leaves the data in one."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_canary import TABLES, command_line, needles, write_tables

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.spark,
    pytest.mark.canary,
    pytest.mark.skipif(
        Path("/proc/sys/kernel/core_pattern").read_text().strip() != "core",
        reason="core dumps do not go into the folder of their process here",
    ),
]

__all__ = ["needles"]

PROGRAM = """
import sys, time
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
held = spark.read.parquet("data/people").cache()
rows = held.collect()
functions = spark.sparkContext.parallelize(range(2), 2).map(lambda i: i)
functions.count()
spark.range(1).write.parquet("out/ready")
time.sleep(600)
"""
READY_S = 240.0


def unlimited() -> None:
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


@contextlib.contextmanager
def running(argv: list[str], folder: Path, **popen: object) -> Iterator[list[Path]]:
    """Start a program that may dump core; give `/proc` folders of its JVM and Python once it holds the data."""
    process = subprocess.Popen(argv, cwd=folder, preexec_fn=unlimited, **popen)
    try:
        deadline = time.monotonic() + READY_S
        while not any((folder / "out/ready").glob("part-*")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(2)
        yield [
            each
            for each in family(process.pid)
            if (each / "comm").read_text().strip() in ("java", "python3.11", "python3", "python")
        ]
    finally:
        process.kill()
        process.wait()


def family(parent: int) -> list[Path]:
    known = {parent}
    for _ in range(8):
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) in known:
                    known.add(int(folder.name))
    return [Path(f"/proc/{pid}") for pid in sorted(known)]


def most_of_a_core(process: Path) -> str:
    [line] = [
        line
        for line in (process / "limits").read_text().splitlines()
        if line.startswith("Max core file size")
    ]
    return line.split()[4]


def abort(processes: list[Path]) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process.name), signal.SIGABRT)
    deadline = time.monotonic() + 60
    while any(process.exists() for process in processes) and time.monotonic() < deadline:
        time.sleep(0.5)


def cores(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("core*") if path.is_file()]


def test_the_control_leaves_the_data(tmp_path, needles):
    write_tables(tmp_path / "plain", needles)
    (tmp_path / "data").mkdir()
    for table in TABLES:
        (tmp_path / "plain" / f"{table}.parquet").rename(tmp_path / "data" / table)
    (tmp_path / "program.py").write_text(PROGRAM)
    with running([sys.executable, "program.py"], tmp_path) as processes:
        javas = [each for each in processes if (each / "comm").read_text().strip() == "java"]
        abort(javas)
    assert javas
    assert any(needles["DATA"].encode() in path.read_bytes() for path in cores(tmp_path))


def test_a_confined_run_leaves_none(tmp_path, needles):
    folder, source = tmp_path / "folder", tmp_path / "source"
    folder.mkdir()
    write_tables(source / "plain", needles)
    (folder / "program.py").write_text(PROGRAM)
    confide = command_line(folder, source, needles["PASSPHRASE"])
    confide("init", "clinic")
    confide("key", "create", "clinic/patients")
    confide("encrypt", str(source / "plain/people.parquet"), "data/people", "--key", "clinic/patients")
    confide("policy", "allow", "program.py", "--read", "data/people", "--write", "out/ready=clinic/patients")
    confide("policy", "apply", "policy.toml")
    with (source / "passphrase").open("rb") as file:
        environment = {
            **os.environ,
            "CONFIDE_HOME": str(source / "home"),
            "CONFIDE_PASSPHRASE_FD": str(file.fileno()),
        }
        argv = [sys.executable, "-m", "confide", "run", "--tee", "simulated", "program.py"]
        with running(argv, folder, env=environment, pass_fds=(file.fileno(),)) as processes:
            of_enclave = [each for each in processes if b"/opt/confide/" in (each / "cmdline").read_bytes()]
            names = {(each / "comm").read_text().strip() for each in of_enclave}
            limits = {most_of_a_core(each) for each in of_enclave}
            abort(of_enclave)
    assert {"java"} < names
    assert limits <= {"0", "1"}
    assert not cores(tmp_path)
