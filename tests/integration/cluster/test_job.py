"""An ordinary program of two owners with executors in enclaves of their own, one of which is killed on the way."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from confide.errors import MeasurementRefused

pytestmark = [pytest.mark.spark, pytest.mark.timeout(1800)]  # several JVMs, on a busy machine

ROWS = pa.table({"id": list(range(20_000)), "value": [f"NEEDLE-4711-{i % 97}" for i in range(20_000)]})
NAMES = pa.table({"value": [f"NEEDLE-4711-{i}" for i in range(90)], "name": [f"name-{i}" for i in range(90)]})
PROGRAM = """
import os
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import beside
import zipped
from elsewhere import marked

spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext
print("MASTER", sc.master)
print("PARTITIONS", spark.conf.get("spark.sql.shuffle.partitions"))
rows = spark.read.parquet("data/rows")
rows.repartition(4).groupBy("value").count().write.mode("overwrite").parquet("out/counted")
print("COUNTED", spark.read.parquet("out/counted").agg(F.sum("count")).first()[0])


def executors():
    found = sc._jsc.sc().statusStore().executorList(False)
    return [found.apply(i) for i in range(found.size())]

while all(executor.isActive() for executor in executors()):  # until one is lost
    time.sleep(0.2)
more = spark.range(10).select(F.expr("nullif('more', '')").alias("value"), F.col("id").alias("count"))
more.write.mode("append").parquet(
    "out/counted")
print("APPENDED", spark.read.parquet("out/counted").agg(F.sum("count")).first()[0])
print("JOINED", rows.join(spark.read.parquet("data/names"), "value").count())
rows.limit(100).write.mode("overwrite").csv("out/text")
print("TEXT", spark.read.csv("out/text").count())
sc.setCheckpointDir("state/checkpoints")
print("CHECKPOINT", rows.limit(500).checkpoint().count())

@F.udf("string")
def plain(text):
    return zipped.same(marked(beside.twice(text)))

print("FUNCTIONS", rows.select(plain("value").alias("v")).where("v like '%-1NEEDLE%'").count())

def look(_):
    names = [n for n in os.environ if n.startswith(("_SPARK", "CONFIDE")) or "SECRET" in n]
    yield os.path.exists("/run/confide"), os.listdir("/work"), names

with open(os.environ["TMPDIR"] + "/sent.py", "w") as file:
    file.write("VALUE = 7")
with open(os.environ["TMPDIR"] + "/sent.txt", "w") as file:
    file.write("eight")
sc.addPyFile(os.environ["TMPDIR"] + "/sent.py")
sc.addFile(os.environ["TMPDIR"] + "/sent.txt")

def given(_):
    import sent
    from pyspark import SparkFiles
    with open(SparkFiles.get("sent.txt")) as file:
        yield sent.VALUE, file.read()

print("SENT", *set(map(str, sc.parallelize(range(4), 4).mapPartitions(given).collect())))
print("WORKERS", *set(map(str, sc.parallelize(range(4), 4).mapPartitions(look).collect())))
stream = spark.readStream.schema("value string, id long").csv("out/text").groupBy("value").count()
(stream.writeStream.outputMode("complete").format("memory").queryName("seen").trigger(availableNow=True)
    .option("checkpointLocation", "state/stream").start().awaitTermination())
print("STREAMED", spark.sql("SELECT sum(count) AS n FROM seen").first()["n"])
"""
BESIDE = "def twice(text):\n    return text + text\n"
SAID = {
    "MASTER": "confide://2",
    "PARTITIONS": "4",
    "COUNTED": "20000",
    "APPENDED": "20045",
    "JOINED": str(sum(i % 97 < 90 for i in range(20_000))),
    "TEXT": "100",
    "CHECKPOINT": "500",
    "FUNCTIONS": str(sum(i % 97 == 1 for i in range(20_000))),
    "SENT": "(7, 'eight')",
    "WORKERS": "(False, [], [])",
    "STREAMED": "100",
}


@pytest.fixture(scope="module")
def job(site, new_owner, small_spark):
    """Run it once, and return what it printed, and what its owner has."""
    served = site.broker("local")
    clinic, bank = (new_owner(name, served, site.root) for name in ("clinic", "bank"))
    clinic.encrypt(ROWS, site.data, "data/rows")
    bank.encrypt(NAMES, site.data, "data/names")
    (site.root / "app/beside.py").write_text(BESIDE)
    more = site.root / "more"
    more.mkdir()
    (more / "elsewhere.py").write_text("def marked(text):\n    return text + '!'\n")
    with zipfile.ZipFile(more / "modules.zip", "w") as archive:
        archive.writestr("zipped.py", "def same(text):\n    return text[:-1]\n")
    recipe = {"owners": ("bank", "clinic"), "py_files": (more / "elsewhere.py", more / "modules.zip")}
    recipe["settings"] = {"spark.sql.shuffle.partitions": "4"}
    driver = site.build(PROGRAM, small_spark, **recipe)
    executor = site.build_executor(PROGRAM, small_spark, **recipe)
    shared = {
        "files": ("out/text", "state"),
        "key": "clinic/data",
        "logs": "clinic/data",
        "executor": executor,
    }
    counted = ("out/counted", "write", "clinic/data")
    clinic.allow(driver, ("data/rows", "read"), counted, **shared)
    bank.allow(driver, ("data/names", "read"), counted, **shared)
    killed: list[str] = []
    threading.Thread(target=kill_after_commit, args=(site, killed), daemon=True).start()
    code = site.run_job()
    logs = site.logs(clinic)
    assert code == 0, "\n".join(logs)
    assert killed
    return next(log for log in logs if "MASTER" in log), clinic, bank, driver


def kill_after_commit(site, killed):
    """End the JVM of executor 1 once a table was committed."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and not (site.data / "out/counted/_confide.listing").exists():
        time.sleep(0.1)
    for process in site.processes():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
            if "confide.spark.ExecutorProcess" in words and words[words.index("--executor-id") + 1] == "1":
                os.kill(process, signal.SIGKILL)
                killed.append(str(process))


def test_it_says_what_it_says_in_local_mode(job):
    log, *_ = job
    said = dict(line.split(" ", 1) for line in log.splitlines() if line.partition(" ")[0] in SAID)
    assert said == SAID


def test_the_table_is_committed_as_a_whole(site, job):
    _, clinic, *_ = job
    table = clinic.read(site.data, "out/counted")
    assert table.num_rows == 97 + 10
    assert sum(table["count"].to_pylist()) == 20_045


def test_the_lost_executor_was_replaced_and_the_log_says_so(site, job):
    log, *_ = job
    assert "the host says: executor 1 ended: exit code 137" in log
    started = [said["executor"] for said in site.said if "executor" in said and said["state"] == "started"]
    assert sorted(started)[:3] == [1, 2, 3]


def test_each_member_received_keys_of_its_own(job):
    _, clinic, *_ = job
    entries = clinic.store.audit.entries
    released = [entry.fields["role"] for entry in entries(kind="release")]
    assert {"driver", "executor"} == set(released)
    assert len(entries(kind="mesh-certificate")) >= 4
    assert not entries(kind="refusal")


def test_nothing_is_left(site, job):
    assert site.gone()
    for path in site.data.rglob("*"):
        assert not path.is_file() or b"NEEDLE" not in path.read_bytes(), path


def test_executors_that_nobody_allows_end_the_job_and_its_log_says_why(site, job):
    _, clinic, bank, driver = job
    shared = {"files": ("out/text", "state"), "key": "clinic/data", "logs": "clinic/data"}
    for owner, mine in ((clinic, "data/rows"), (bank, "data/names")):
        owner.allow(driver, (mine, "read"), ("out/counted", "write", "clinic/data"), **shared)
    with pytest.raises(MeasurementRefused):
        site.run_job()
    assert site.gone()
    assert re.search(r"the host says: executor [12] ended: MeasurementRefused", site.log(clinic))
