"""Executors of Spark 3.5 beside the driver, in its enclave: as guarded as it is, and as alone."""

from __future__ import annotations

import dataclasses
import json
import socket

import pyarrow as pa
import pytest

from confide.data.sealed import SealedReader
from confide.enclave.image import Limits
from confide.spark.engine import SPARK35, installed

from .test_jar import compiled

pytestmark = [
    pytest.mark.spark,
    pytest.mark.timeout(900),
    pytest.mark.skipif(installed() is not SPARK35, reason="Spark 3.5 has an environment of its own"),
]

CLUSTER = {"spark.master": "local-cluster[2,1,512]"}
EVENTS = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": "sealed:///work/out/events"}
LIMITS = Limits(memory_mib=2560, scratch_mib=128, cores=2)
ROWS = pa.table({"id": range(100), "ward": ["NEEDLE-4711", "b"] * 50})
PROBE = """
package clinic;
import java.io.FileWriter;
import java.net.Socket;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.*;
import org.apache.spark.SparkEnv;
import org.apache.spark.sql.api.java.UDF1;
public final class Probe implements UDF1<String, String> {
  @Override
  public String call(String what) {
    String[] words = what.split(" ");
    String here = SparkEnv.get().executorId();
    try {
      switch (words[0]) {
        case "open": hadoop(words[1]).open(new Path(words[1])).close(); break;
        case "create": hadoop(words[1]).create(new Path(words[1])).close(); break;
        case "write": try (FileWriter file = new FileWriter(words[1])) { file.write("in clear"); } break;
        case "connect": new Socket("127.0.0.1", Integer.parseInt(words[1])).close(); break;
        case "print": System.out.println("printed by " + here); break;
        case "die": if (here.equals("1") || words.length > 1) { Runtime.getRuntime().halt(3); } break;
        default: break;
      }
      return here + " done";
    } catch (Exception e) {
      return here + " " + e.getClass().getSimpleName();
    }
  }
  private static FileSystem hadoop(String path) throws Exception {
    return FileSystem.newInstance(new Path(path).toUri(), new Configuration(false)); // with no settings of Spark's
  }
}
"""
BEGIN = """
import glob, json, os, socket, sys, time
from pyspark import SparkFiles, TaskContext
from pyspark.sql import SparkSession

spark = SparkSession.builder.config("spark.sql.shuffle.partitions", "4").getOrCreate()
sc = spark.sparkContext
spark.udf.registerJavaFunction("probe", "clinic.Probe")
def probe(what):
    frame = spark.createDataFrame([(what,)] * 4, "what string").repartition(4)
    return sorted({row[0] for row in frame.selectExpr("probe(what)").collect()})
"""
PROGRAM = (
    BEGIN
    + """
port, said = sys.argv[1], {"master": sc.master}
rows = spark.read.parquet("data/rows")
twice = spark.udf.register("twice", lambda x: 2 * x, "long")
found = rows.repartition(4).groupBy("ward").agg({"id": "sum"}).toDF("ward", "total")
found.select("ward", twice("total").alias("twice")).write.parquet("out/table")
spark.read.parquet("out/table").write.json("out/files")
said["read back"] = spark.read.json("out/files").count()

with open("/tmp/handed.txt", "w") as file:
    file.write("handed round")
sc.addFile("file:/tmp/handed.txt")

def look(_):
    time.sleep(0.2)  # so that both have something to do
    try:
        socket.create_connection(("127.0.0.1", int(port)), timeout=5)
        reached = "REACHED"
    except OSError as error:
        reached = type(error).__name__
    interfaces = [name for _, name in socket.if_nameindex()]
    handed = open(SparkFiles.get("handed.txt")).read()
    places = os.listdir("/work"), os.path.exists(os.environ.get("CONFIDE_AGENT", "/run/confide/agent.sock"))
    return json.dumps([reached, interfaces, handed, *places]), os.path.realpath(".")

looked = sc.parallelize(range(8), 8).map(look).collect()
said["functions"] = sorted({one for one, _ in looked})
said["folders"] = len({folder for _, folder in looked})
said["probe"] = {what: probe(what) for what in (
    "nothing", "print", "open file:/etc/hostname", "open file:/proc/self/environ", "create /work/out/unlisted/x",
    "write /work/out/files/plain.txt", "write /data/plain.txt", "connect " + port)}

hadoop = spark._jvm.org.apache.hadoop
secret = hadoop.security.UserGroupInformation.getCurrentUser().getCredentials().getSecretKey(
    hadoop.io.Text("sparkCookie"))
said["secret"] = bytes(secret).decode()

def told():
    return json.dumps(TaskContext.get()._localProperties)

def asked(session):
    return json.loads(session.range(1).select(session.udf.register("told", told)()).first()[0])

said["told"] = [asked(spark), asked(spark.newSession())]
spark.sql("RESET")
said["told"] += [asked(spark), json.loads(sc.parallelize([0]).map(lambda _: told()).first())]
said["processes"] = {}
files, File = spark._jvm.java.nio.file.Files, spark._jvm.java.io.File
for command in glob.glob("/proc/[0-9]*/cmdline"):
    words = open(command).read()
    for path in (command, os.path.dirname(command) + "/environ"):
        try:
            text = bytes(files.readAllBytes(File(path).toPath())).decode(errors="replace")
        except Exception:
            continue  # of the agent, which is nobody's to read
        kind = next((kind for kind in ("ExecutorProcess", "Gateway") if "confide.spark." + kind in words), "other")
        said["processes"].setdefault(kind + " " + os.path.basename(path), []).append(said["secret"] in text)
print("SAID " + json.dumps(said))
"""
)


@pytest.fixture(scope="module")
def clinic(site, new_owner):
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(ROWS, site.data, "data/rows")
    (site.data / "out/events").mkdir(parents=True)
    return owner


@pytest.fixture(scope="module")
def built(site, clinic, small_spark, tmp_path_factory):
    """Build a program with the probe beside it, and let it read and write."""
    probe = compiled(tmp_path_factory.mktemp("probe"), "Probe", PROBE)
    profile = dataclasses.replace(small_spark, limits=LIMITS)

    def build(program: str, **settings: str) -> None:
        own = {**CLUSTER, **settings}
        image = site.build(program, profile, args=("[0-9]+",), settings=own, jars=(probe,))
        grants = ("data/rows", "read"), ("out/table", "write")
        clinic.allow(image, *grants, logs="clinic/data", files=("out/files", "out/events"))

    return build


def test_two_executors_as_guarded_and_as_alone_as_the_driver(site, clinic, built):
    built(PROGRAM, **EVENTS)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = str(listening.getsockname()[1])
        assert site.run(port) == 0, site.log(clinic)
    log = site.log(clinic)
    (line,) = [line for line in log.splitlines() if line.startswith("SAID ")]
    said = json.loads(line.removeprefix("SAID "))

    # The same result as anywhere, by two executors with a folder each.
    table = clinic.read(site.data, "out/table").sort_by("ward").to_pylist()
    assert table == [{"ward": "NEEDLE-4711", "twice": 4900}, {"ward": "b", "twice": 5000}]
    assert (said["read back"], said["folders"]) == (2, 2)
    assert said["probe"]["nothing"] == ["1 done", "2 done"]
    assert all(f"printed by {executor}" in log for executor in "12")

    # The guard, whatever configuration code of the program's comes with; storage is nowhere in clear; no network.
    refused = {what: answers for what, answers in said["probe"].items() if what not in ("nothing", "print")}
    for what, error in {
        "open": "ConfideException",
        "create": "ConfideException",
        "write": "FileNotFoundException",
        "connect": "ConnectException",
    }.items():
        for answers in (answers for asked, answers in refused.items() if asked.startswith(what)):
            assert answers == [f"1 {error}", f"2 {error}"], refused
    assert said["functions"] == [json.dumps(["ConnectionRefusedError", ["lo"], "handed round", [], False])]

    # Their secret, not told to functions, though every setting of Spark's is.
    *sessions, plain = said["told"]
    assert all(properties["spark.master"] == said["master"] for properties in sessions)
    for properties in (*sessions, plain):
        assert not {
            name for name, value in properties.items() if said["secret"] in value or "assword" in name
        }

    # In no argument, environment, or log of events.
    assert len(said["secret"]) == 64
    processes = said["processes"]
    assert len(processes["ExecutorProcess cmdline"]) == len(processes["ExecutorProcess environ"]) == 2
    assert processes["Gateway environ"]  # that of the pair too, whose argument it is
    assert not any(any(found) for found in processes.values()), processes
    (events,) = (site.data / "out/events").iterdir()
    with events.open("rb") as file, SealedReader(file, clinic.keyset) as reader:
        told = bytes(reader.readall()).decode()
    assert "SparkListenerExecutorAdded" in told
    assert said["secret"] not in told
    for path in site.data.rglob("*"):
        if path.is_file():
            stored = path.read_bytes()
            assert not any(text in stored for text in (b"NEEDLE-4711", said["secret"].encode())), path
    assert site.gone()


def test_an_executor_that_dies_is_replaced(site, clinic, built):
    wait = "while len(left := probe('nothing')) < 2: time.sleep(0.5)"
    built(f"{BEGIN}\nprobe('die')\n{wait}\nprint('LEFT', left)")
    assert site.run() == 0, site.log(clinic)
    log = site.log(clinic)
    assert "confide: an executor ended with exit code 3" in log
    assert "LEFT ['2 done', '3 done']" in log
    assert site.gone()


def test_executors_that_die_again_and_again_end_the_job(site, clinic, built):
    built(BEGIN + "probe('die all')", **{"spark.task.maxFailures": "100"})
    assert site.run() != 0
    assert "too many executors were lost" in site.log(clinic)
    assert site.gone()


def test_a_cluster_that_the_image_does_not_name_is_refused(site, clinic, built):
    own = "SparkSession.builder.master('local-cluster[3,1,512]')"
    built(BEGIN.replace("SparkSession.builder", own))
    assert site.run() != 0
    assert (
        "spark.master=local-cluster[3,1,512] would weaken the protection: executors are started beside"
        in site.log(clinic)
    )
