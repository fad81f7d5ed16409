"""Spark 3.5 under `confide run`: alone in its network, and without storage where programs know it."""

from __future__ import annotations

import socket

import pyarrow as pa
import pytest

from confide.spark.engine import SPARK35, installed

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(installed() is not SPARK35, reason="Spark 3.5 has an environment of its own"),
]

PROGRAM = """
import os, socket, sys
from pyspark.sql import SparkSession

spark = SparkSession.builder.config("spark.sql.shuffle.partitions", "2").getOrCreate()
jvm, port = spark._jvm, int(sys.argv[1])

def reach(_=None):
    interfaces = sorted(name for _, name in socket.if_nameindex())
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            return "REACHED"
    except OSError as error:
        return f"{type(error).__name__} {interfaces} {os.listdir('/work')} {os.path.exists('/data')}"

def attempt(act):
    try:
        act()
        return "TAKEN"
    except Exception as error:
        return "refused"

print("driver", reach())
print("functions", spark.sparkContext.parallelize([1], 1).map(reach).collect()[0])
print("jvm", attempt(lambda: jvm.java.net.Socket("127.0.0.1", port)))
for name in ("/work/plain.txt", "plain.txt", "/work/out/files/plain.txt", "/data/plain.txt"):
    def write():
        file = jvm.java.io.FileWriter(name)
        file.write("in clear")
        file.close()
    print("write:" + name, attempt(write))
mounted = [entry.getName() for entry in jvm.java.io.File("/").listFiles()]
print("storage", sorted(len(name) for name in mounted if set(name) <= set("0123456789abcdef")), "data" in mounted)
conf = jvm.org.apache.hadoop.conf.Configuration(False)
path = jvm.org.apache.hadoop.fs.Path("/work/out/unlisted/x")
fs = jvm.org.apache.hadoop.fs.FileSystem.newInstance(path.toUri(), conf)
print("own configuration", attempt(lambda: fs.create(path)))
rows = spark.read.parquet("data/rows")
double = spark.udf.register("double", lambda x: 2 * x, "long")
rows.select("id", double("id").alias("twice")).write.parquet("out/table")
rows.write.json("out/files")
print("read back", spark.read.json("out/files").count(), spark.read.parquet("out/table").count())
"""


def test_alone_in_its_network_and_without_storage_in_clear(new_site, new_owner, small_spark):
    site = new_site()
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(pa.table({"id": range(100), "text": ["NEEDLE-4711"] * 100}), site.data, "data/rows")
    image = site.build(PROGRAM, small_spark, args=("[0-9]+",))
    assert image.profile == "spark35"
    tables = ("data/rows", "read"), ("out/table", "write")
    owner.allow(image, *tables, logs="clinic/data", files=("out/files",))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert site.run(str(listening.getsockname()[1])) == 0, site.log(owner)
    said = dict(line.split(" ", 1) for line in site.log(owner).splitlines() if " " in line)
    alone = "ConnectionRefusedError ['lo'] [] False"
    assert (said["driver"], said["functions"], said["jvm"]) == (alone, alone, "refused")
    assert (said["write:/work/plain.txt"], said["write:plain.txt"]) == ("TAKEN", "TAKEN")
    assert said["write:/work/out/files/plain.txt"] == said["write:/data/plain.txt"] == "refused"
    assert said["storage"] == "[32] False"
    assert said["own"] == "configuration refused"
    assert said["read"] == "back 100 100"
    assert owner.read(site.data, "out/table").sort_by("id")["twice"].to_pylist() == list(range(0, 200, 2))
    assert owner.store.listing_at("clinic", "out/files").listing.files
    for path in site.data.rglob("*"):
        assert path.name != "plain.txt"
        if path.is_file():
            assert b"NEEDLE-4711" not in path.read_bytes(), path
