"""Executors that others start, as a cluster's scheduler does, find their driver through a file on shared storage."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from confide.enclave.executors import run_job
from confide.enclave.job_file import told_in, wait_for_job
from confide.enclave.run import run

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.timeout(900)]

PROGRAM = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
store = spark.sparkContext._jsc.sc().statusStore()
while store.executorList(False).size() < 3:
    pass
print("SUM", spark.range(1000).repartition(4).selectExpr("sum(id)").first()[0])
"""


def test_executors_from_elsewhere_find_their_driver(site, new_owner, small_spark):
    clinic = new_owner("clinic", site.broker("local"), site.root)
    image = site.build(PROGRAM, small_spark)
    executor_image = site.build_executor(PROGRAM, small_spark)
    clinic.allow(image, ("out/nothing", "write"), logs="clinic/data", executor=executor_image)
    driver, executor = site.members()
    path, codes = site.data / "jobs/job.json", []

    def join() -> None:
        launch = {**wait_for_job(path), **executor.launch}
        codes.append(run(dataclasses.replace(executor, launch=launch)))

    threads = [threading.Thread(target=join, daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    with told_in(path, site.said.append) as told:
        code = run_job(driver, executor, 0, told)
    for thread in threads:
        thread.join(60)
    assert code == 0, site.logs(clinic)
    assert codes == [0, 0]
    assert not path.exists()
    assert any("SUM 499500" in log for log in site.logs(clinic))
    assert not any("executor" in said for said in site.said)  # none was started here
