"""A program that reads and writes hdfs:// as it is, which the host has in a folder of the data root."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pytest

pytestmark = [pytest.mark.spark, pytest.mark.slow]

PROGRAM = """
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
patients = spark.read.parquet("hdfs://namenode:8020/tables/patients")
wards = patients.groupBy("ward").sum("stay").toDF("ward", "stay")
wards.write.mode("overwrite").parquet("hdfs://namenode:8020/out/wards")
print("WARDS", spark.read.parquet("hdfs://namenode:8020/out/wards").count())
"""
PATIENTS = pa.table({"ward": ["canary-a", "canary-b", "canary-a"], "stay": [1, 2, 3]})
TABLE, RESULT = "hdfs://namenode:8020/tables/patients", "hdfs://namenode:8020/out/wards"


def test_a_table_in_hdfs_is_read_and_written(site, new_owner, small_spark):
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(PATIENTS, site.root / "owner", TABLE)
    folder = site.data / "hdfs/namenode:8020"
    (made,) = {path.parent for path in (site.root / "owner").rglob("*.parquet")}
    shutil.copytree(made, folder / "tables/patients")
    owner.allow(site.build(PROGRAM, small_spark), (TABLE, "read"), (RESULT, "write"), logs="clinic/data")
    assert site.run() == 0, site.log(owner)
    assert "WARDS 2" in site.log(owner)
    assert (folder / "out/wards/_confide.listing").is_file()
    assert all(b"canary" not in path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert owner.read(site.data, RESULT).num_rows == 2
