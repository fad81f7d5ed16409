"""Spark programs under `confide run`: what they may not do, what broken data does, and how a run ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.spark

RUNNER = Path(__file__).with_name("runner.py")
MARK = "NEEDLE-4711"
ROWS = pa.table({"id": list(range(2000)), "value": [f"{MARK}-{i}" for i in range(2000)]})
PROGRAM = """
import sys, time
from pyspark import StorageLevel
from pyspark.sql import SparkSession

spark = SparkSession.builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()
spark.sparkContext.setLogLevel("OFF")

def read(location):
    return spark.read.parquet(location).selectExpr("max(value) AS v", "max(id)").first()["v"]

def each():
    from confide.jvm.explanation import explain
    for name, act in {
        "ungranted": lambda: read("data/ungranted"),
        "csv": lambda: spark.range(3).write.csv("out/table"),
        "plain": lambda: read("data/plain"),
        "missing": lambda: read("data/missing"),
        "unwritable": lambda: spark.range(3).write.mode("append").parquet("data/good"),
        "binary": lambda: spark.sparkContext.binaryFiles("data/good").collect(),
        "python": lambda: open("/work/data/good/_confide.listing"),
    }.items():
        try:
            act()
            print("TAKEN", name)
        except Exception as error:
            print("SAID", name, explain(error) or type(error).__name__)
    print(len(read("data/good")))
    sys.exit(7)

def full():
    print(spark.range(3_000_000).selectExpr("concat(uuid(), uuid())").persist(StorageLevel.DISK_ONLY).count())

def wait():
    held = spark.read.parquet("data/good").cache()
    print(held.count())
    spark.range(1).write.parquet(sys.argv[2])
    time.sleep(600)

def worker():
    "What a function of the program tries, and what it needs."
    from pyspark import SparkConf, SparkContext
    spark.stop()
    sc = SparkContext(conf=SparkConf().set("spark.python.worker.memory", "1m"))
    with open("/scratch/tmp/beside.py", "w") as file:
        file.write("VALUE = 7")
    sc.addPyFile("/scratch/tmp/beside.py")
    table = sc.broadcast(list(range(100_000)))

    def tries(_):
        import os
        def each():
            for name in ("/scratch/worker-python", "/run/confide/worker-python"):
                yield "launcher", lambda: os.chmod(name, 0o700)
                yield "replaced", lambda: open(name, "w")
            yield "scratch", lambda: open("/scratch/new", "w")
            for name in os.listdir("/scratch"):
                if name not in ("sockets", "workers"):
                    yield "link", lambda: os.symlink("/work", f"/scratch/{name}/link")
                    yield "library", lambda: open(f"/scratch/{name}/libx.so", "w")
            for name in ("tmp", "hadoop", "warehouse", "derby"):
                yield name, lambda: os.listdir(f"/scratch/{name}")
        for name, act in each():
            try:
                act()
                yield "TAKEN " + name
            except OSError as error:
                yield "refused"

    def needs(_):
        import os, tempfile
        import pyarrow as pa, pyarrow.compute as pc
        import beside
        tokyo = pc.hour(pa.array([0], pa.timestamp("s", "Asia/Tokyo")))[0].as_py()
        with tempfile.NamedTemporaryFile() as file:
            yield beside.VALUE, table.value[9], tokyo, os.path.dirname(file.name)
    def looks(_):
        import os
        yield sorted(os.listdir("/scratch")), os.listdir("/work"), os.path.exists("/run/confide")

    print("TRIED", sorted(set(sc.parallelize([0], 1).mapPartitions(tries).collect())))
    print("NEEDED", sc.parallelize([0], 1).mapPartitions(needs).collect())
    sc.stop()
    sc = SparkContext(conf=SparkConf().set("spark.python.worker.memory", "1m"))  # workers start anew
    print("LOOKED", sc.parallelize([0], 1).mapPartitions(looks).collect())
    grouped = sc.parallelize(range(200_000), 2).map(lambda i: (i % 1000, str(i))).groupByKey(2)
    print("SPILLED", grouped.mapValues(len).values().sum())

{"each": each, "worker": worker, "flipped": lambda: read("data/flipped"), "full": full, "wait": wait}[sys.argv[1]]()
"""
TABLES = ("good", "plain", "missing", "flipped")


@pytest.fixture(scope="module")
def clinic(site, new_owner, small_spark):
    """The owner; the site holds one image and tables that storage has tampered with."""
    owner = new_owner("clinic", site.broker("local"), site.root)
    listings = {name: owner.encrypt(ROWS, site.data, f"data/{name}") for name in (*TABLES, "ungranted")}
    image = site.build(PROGRAM, small_spark, args=("[a-z/]+",))
    owner.allow(
        image,
        *((f"data/{name}", "read") for name in TABLES),
        ("out/table", "write"),
        ("out/sigint", "write"),
        ("out/sigkill", "write"),
        logs="clinic/data",
    )

    def first(name):
        return site.data / "data" / name / listings[name].files[0].path

    first("missing").unlink()
    pq.write_table(ROWS, first("plain"))
    page = bytearray(first("flipped").read_bytes())
    page[60] ^= 1
    first("flipped").write_bytes(page)
    return owner


@pytest.fixture
def clean(site, clinic):
    """After a run nothing of it is left: no process, no file besides results and sealed logs, no byte in clear."""
    before = _files(site)
    yield
    assert site.gone()
    assert not {file for file in _files(site) - before if file.parts[0] not in ("confide-logs", "out")}
    clear = [path for path in site.data.rglob("*") if path.is_file() and MARK.encode() in path.read_bytes()]
    assert {path.parent.name for path in clear} <= {"plain"}


def _files(site):
    return {path.relative_to(site.data) for path in site.data.rglob("*") if path.is_file()}


def test_each_refusal_names_its_rule_and_the_exit_code_passes(site, clinic, clean):
    assert site.run("each") == 7
    log = site.log(clinic)
    said = dict(line.split(" ", 2)[1:] for line in log.splitlines() if line.startswith("SAID "))
    assert "TAKEN" not in log
    kinds = {name: text.partition(":")[0] for name, text in said.items()}
    assert kinds == {
        "ungranted": "NoGrant",
        "csv": "NotEncrypted",
        "plain": kinds["plain"],
        "missing": "FileMissing",
        "unwritable": "NoGrant",
        "binary": "NoGrant",
        "python": "FileNotFoundError",
    }, log
    assert kinds["plain"] in ("NotEncrypted", "FileChanged")
    assert not (site.data / "out/table").exists() or not list((site.data / "out/table").glob("*.csv"))


def test_flipped_page_ends_the_log_with_the_rule(site, clinic, clean):
    assert site.run("flipped") == 1
    last = site.log(clinic).rstrip().splitlines()[-1]
    assert last.startswith("confide: FileChanged: does not authenticate: file:")
    assert "/data/flipped/" in last


def test_a_function_does_not_leave_its_sandbox(site, clinic, clean):
    assert site.run("worker") == 0
    said = dict(
        line.split(" ", 1) for line in site.log(clinic).splitlines() if line.isascii() and " " in line
    )
    assert said["TRIED"] == "['refused']"
    assert said["NEEDED"] == "[(7, 9, 9, '/scratch/workers')]"
    assert said["LOOKED"] == "[(['local', 'sockets', 'workers'], [], False)]"
    assert said["SPILLED"] == "200000"


def test_full_scratch(site, clinic, clean):
    assert site.run("full") == 1
    assert site.log(clinic).rstrip().splitlines()[-1] == "confide: StorageUnavailable: no space left"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_ended_from_outside(site, clinic, clean, sent):
    ready = f"out/{sent.name.lower()}"
    request = site.request()
    document = {"image": str(request.image), "home": str(request.home), "data_root": str(request.data_root)}
    document |= {"brokers": dict(request.brokers), "arguments": ["wait", ready]}
    runner = subprocess.Popen([sys.executable, str(RUNNER), json.dumps(document)], stderr=subprocess.PIPE)
    try:
        while not (site.data / ready / "_confide.listing").exists():
            assert runner.poll() is None, runner.stderr.read().decode()
            time.sleep(0.1)
        assert site.processes()
        runner.send_signal(sent)
        assert runner.wait(60) == -sent  # Python ends itself with the signal that interrupted it
    finally:
        runner.kill()
        runner.wait()
        runner.stderr.close()
