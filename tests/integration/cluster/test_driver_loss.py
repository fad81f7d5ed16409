"""A driver is killed in the middle of a write: the job ends as a whole, and the same job runs again."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

from confide.errors import ConfideError

pytestmark = [pytest.mark.spark, pytest.mark.slow, pytest.mark.timeout(900)]

ROWS = pa.table({"value": [f"NEEDLE-4711-{i % 97}" for i in range(20_000)]})
PROGRAM = """
import time
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
rows = spark.read.parquet("data/rows")

@F.udf("string")
def slow(text):
    time.sleep(0.003)
    return text

rows.repartition(8).select(slow("value").alias("value")).write.mode("overwrite").parquet("out/copy")
print("WRITTEN", spark.read.parquet("out/copy").count())
"""


@pytest.fixture(scope="module")
def clinic(site, new_owner, small_spark):
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(ROWS, site.data, "data/rows")
    image, executor = site.build(PROGRAM, small_spark), site.build_executor(PROGRAM, small_spark)
    grants = (("data/rows", "read"), ("out/copy", "write", "clinic/data"))
    owner.allow(image, *grants, logs="clinic/data", executor=executor)
    return owner


@pytest.fixture(scope="module")
def lost(site, clinic):
    """Run it, and end the driver's JVM once a task writes; return what came of it."""
    killed: list[int] = []
    threading.Thread(target=kill_while_it_writes, args=(site, killed), daemon=True).start()
    outcome: int | ConfideError
    try:
        outcome = site.run_job()
    except ConfideError as error:
        outcome = error
    assert killed
    return outcome


def kill_while_it_writes(site, killed):
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not any((site.data / "out").rglob("*.parquet")):
        time.sleep(0.05)
    for process in site.processes():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
            if "confide.spark.Gateway" in words:
                os.kill(process, signal.SIGKILL)
                killed.append(process)


def test_the_job_fails(lost):
    assert lost != 0


def test_no_process_and_no_byte_in_clear_is_left(site, lost):
    assert site.gone()
    for path in site.data.rglob("*"):
        assert not path.is_file() or b"NEEDLE" not in path.read_bytes(), path


def test_nothing_was_committed(site, clinic, lost):
    assert not (site.data / "out/copy/_confide.listing").exists()
    assert not clinic.store.audit.entries(kind="commit")


def test_the_same_job_runs_again(site, clinic, lost):
    assert site.run_job() == 0
    assert any("WRITTEN 20000" in log for log in site.logs(clinic))
    assert clinic.read(site.data, "out/copy").num_rows == 20_000
