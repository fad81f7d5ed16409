"""Spark tells each function the settings of its session, as local properties of its task: the job's secret is none."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest

pytestmark = [pytest.mark.spark, pytest.mark.timeout(900)]

PROGRAM = """
import json

from pyspark import TaskContext
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
sc = spark.sparkContext

def told():
    return json.dumps(TaskContext.get()._localProperties)

def asked(session):
    return json.loads(session.range(1).select(session.udf.register("told", told)()).first()[0])

properties = [asked(spark), asked(spark.newSession())]
spark.sql("RESET")
properties += [asked(spark), json.loads(sc.parallelize([0]).map(lambda _: told()).first())]
hadoop = spark._jvm.org.apache.hadoop
secret = hadoop.security.UserGroupInformation.getCurrentUser().getCredentials().getSecretKey(
    hadoop.io.Text("sparkCookie"))
print("TOLD", json.dumps([bytes(secret).decode(), *properties]))
"""


def test_functions_are_told_settings_and_no_secret(site, new_owner, small_spark):
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(pa.table({"id": [1]}), site.data, "data/rows")
    driver, executor = site.build(PROGRAM, small_spark), site.build_executor(PROGRAM, small_spark)
    owner.allow(driver, ("data/rows", "read"), logs="clinic/data", executor=executor)
    code = site.run_job()
    log = "\n".join(site.logs(owner))
    assert code == 0, log
    (line,) = [line for line in log.splitlines() if line.startswith("TOLD ")]
    secret, *sessions, plain = json.loads(line.removeprefix("TOLD "))
    assert len(secret) == 64
    assert all(properties["spark.master"] == "confide://2" for properties in sessions)
    for properties in (*sessions, plain):
        assert not {name for name, value in properties.items() if secret in value or "assword" in name}
