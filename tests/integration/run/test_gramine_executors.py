"""Spark with executors under a real Gramine, without SGX. Skipped where there is none."""

from __future__ import annotations

import dataclasses
import shutil

import pyarrow as pa
import pytest

from confide.broker.mesh_names import JOB, MEMBER
from confide.enclave.executors import run_job
from confide.enclave.gramine.build import unsigned_enclave
from confide.enclave.gramine.installation import check_version, find_gramine
from confide.enclave.gramine.start import GramineEnclave
from confide.enclave.image import Image, Limits
from confide.enclave.run import run
from confide.errors import MeasurementRefused, MissingDependency
from confide.spark.enclave import enclave_needs
from confide.spark.image_spec import image_profile


def _missing() -> str | None:
    try:
        check_version()
    except MissingDependency as missing:
        return str(missing)
    return None if shutil.which("gramine-manifest") else "gramine-manifest is not on the PATH"


_MISSING = _missing()
pytestmark = [
    pytest.mark.gramine,
    pytest.mark.spark,
    pytest.mark.skipif(_MISSING is not None, reason=f"needs Gramine 1.9: {_MISSING}"),
]

PATIENTS = pa.table({"ward": ["a", "b", "a", "c"], "age": [31, 42, 53, 64]})
PROGRAM = """
import time
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
spark = SparkSession.builder.getOrCreate()
patients = spark.read.parquet("in/patients").repartition(4)
while spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() < 3:
    time.sleep(0.1)
patients.groupBy("ward").agg(F.avg("age").alias("age")).write.parquet("out/means")
print("executors", spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() - 1)
"""


GRANTS = (("in/patients", "read"), ("out/means", "write"))
ATTESTED = ["verified", "attested", "joined", "released", "started"]


@pytest.fixture(scope="module")
def study(site, new_owner, cache, tmp_path_factory):
    owner = new_owner("clinic", site.broker("local"), tmp_path_factory.mktemp("plain"))
    owner.encrypt(PATIENTS, site.data, "in/patients")
    limits = Limits(memory_mib=1024, scratch_mib=64, cores=1)
    profile = dataclasses.replace(image_profile(cache / "jvm", enclave=True), limits=limits)
    site.build(PROGRAM, profile, libos="gramine")
    site.build_executor(PROGRAM, profile, libos="gramine")
    return site, owner


def enclave(image: Image) -> GramineEnclave:
    return unsigned_enclave(image, enclave_needs(image), find_gramine())


def test_an_executor_that_nobody_approved_gets_no_key(study):
    site, owner = study
    owner.allow(site.image, *GRANTS)
    _, executor = site.members()
    nowhere = {JOB: "00" * 16, MEMBER: "1", "driver": "127.0.0.1:1", "application": "app-1"}
    request = dataclasses.replace(
        executor, launch={**executor.launch, **nowhere}, enclave=enclave(site.executor)
    )
    with pytest.raises(MeasurementRefused):
        run(request)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_executors_each_attested_on_its_own(study):
    site, owner = study
    owner.allow(site.image, *GRANTS, logs=str(owner.key), executor=site.executor)
    driver, executor = site.members(enclave=enclave(site.image))
    executor = dataclasses.replace(executor, enclave=enclave(site.executor))
    assert run_job(driver, executor, 2, site.said.append) == 0
    for number in (1, 2):
        states = [said["state"] for said in site.said if said.get("executor") == number]
        assert states[: len(ATTESTED)] == ATTESTED
    means = owner.read(site.data, "out/means").to_pydict()
    assert dict(zip(means["ward"], means["age"], strict=True)) == {"a": 42.0, "b": 42.0, "c": 64.0}
    assert "executors 2\n" in "".join(site.logs(owner))
