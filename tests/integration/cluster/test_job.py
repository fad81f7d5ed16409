"""Ordinary Spark programs with executors in enclaves of their own: results, tables, functions, and lost executors."""

from __future__ import annotations

import pyarrow as pa
import pytest

pytestmark = pytest.mark.spark

ROWS = pa.table({"id": list(range(20_000)), "value": [f"NEEDLE-4711-{i % 97}" for i in range(20_000)]})
PROGRAM = """
import os
import sys
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

import beside

spark = SparkSession.builder.config("spark.sql.shuffle.partitions", "4").getOrCreate()
sc = spark.sparkContext
print("MASTER", sc.master)
rows = spark.read.parquet("data/rows")
counted = rows.repartition(4).groupBy("value").count()
counted.write.mode("overwrite").parquet("out/counted")
print("READ BACK", spark.read.parquet("out/counted").agg(F.sum("count")).first()[0])
spark.range(10).withColumnRenamed("id", "count").withColumn("value", F.lit("more")).select(
    "value", "count").write.mode("append").parquet("out/counted")
print("APPENDED", spark.read.parquet("out/counted").agg(F.sum("count")).first()[0])
rows.limit(100).write.mode("overwrite").csv("out/text")
print("TEXT", spark.read.csv("out/text").count())
sc.setCheckpointDir("state/checkpoints")
print("CHECKPOINT", rows.limit(500).checkpoint().count())

@F.udf("string")
def plain(text):
    return beside.twice(text)

print("UDF", rows.select(plain("value").alias("v")).where("v like '%-1NEEDLE%'").count())

def look(_):
    names = [n for n in os.environ if n.startswith(("_SPARK", "SPARK_", "CONFIDE")) or "SECRET" in n]
    yield (os.path.exists("/run/confide"), os.listdir("/work"), names)

print("WORKERS", sorted(set(map(str, sc.parallelize(range(4), 4).mapPartitions(look).collect()))))
print("EXECUTORS", sc._jsc.sc().getExecutorMemoryStatus().size())
"""
BESIDE = "def twice(text):\n    return text + text\n"


@pytest.fixture(scope="module")
def clinic(site, new_owner, small_spark):
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(ROWS, site.data, "data/rows")
    (site.root / "app/beside.py").write_text(BESIDE)
    driver, executor = site.build(PROGRAM, small_spark), site.build_executor(PROGRAM, small_spark)
    owner.allow(
        driver,
        ("data/rows", "read"),
        ("out/counted", "write"),
        files=("out/text", "state"),
        logs="clinic/data",
        executor=executor,
    )
    return owner


def test_a_job(site, clinic):
    code = site.run_job()
    log = "\n".join(site.logs(clinic))
    assert code == 0, log
    said = dict(line.split(" ", 1) for line in log.splitlines() if line.partition(" ")[0].isupper())
    assert said["MASTER"] == "confide://2"
    assert said["READ"] == "BACK 20000"
    assert said["APPENDED"] == "20045"
    assert said["TEXT"] == "100"
    assert said["CHECKPOINT"] == "500"
    assert said["EXECUTORS"] == "3"
