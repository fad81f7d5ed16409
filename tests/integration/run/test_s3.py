"""A program that reads and writes s3a:// as it is: a server of S3's API, mounted by s3fs, and the rest real."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pytest
from tests.s3 import CREDENTIALS, s3_server

pytestmark = pytest.mark.spark

PROGRAM = """
from pyspark.sql import SparkSession

spark = SparkSession.builder.config("spark.hadoop.fs.s3a.endpoint.region", "eu-central-1").getOrCreate()
patients = spark.read.parquet("s3a://bucket/tables/patients")
patients.groupBy("ward").sum("stay").toDF("ward", "stay").write.mode("overwrite").parquet("s3a://bucket/out/wards")
print("WARDS", spark.read.parquet("s3a://bucket/out/wards").count())
"""
PATIENTS = pa.table({"ward": ["canary-a", "canary-b", "canary-a"], "stay": [1, 2, 3]})


@pytest.fixture(scope="module")
def bucket(site):
    """The bucket, mounted at the folder of the data root that stands for it."""
    if shutil.which("s3fs") is None or not Path("/dev/fuse").exists():
        pytest.skip("needs Debian's package s3fs and /dev/fuse: CONFIDE_TEST_TOOLS=1 scripts/setup.sh")
    folder, password = site.data / "s3a/bucket", site.root / "s3fs-password"
    folder.mkdir(parents=True)
    password.write_text(f"{CREDENTIALS['AWS_ACCESS_KEY_ID']}:{CREDENTIALS['AWS_SECRET_ACCESS_KEY']}\n")
    password.chmod(0o600)
    with s3_server() as server:
        server.call("PUT", "/bucket")
        options = f"url=http://127.0.0.1:{server.port},use_path_request_style,passwd_file={password}"
        mounting = subprocess.Popen(["s3fs", "-f", "bucket", folder, "-o", options])
        try:
            deadline = time.monotonic() + 30
            while not folder.is_mount():
                assert mounting.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            yield server
        finally:
            subprocess.run(["fusermount", "-uz", folder], check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                mounting.wait(30)
            mounting.kill()
            mounting.wait()


@pytest.fixture(scope="module")
def clinic(site, bucket, new_owner, small_spark):
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(PATIENTS, site.root / "owner", "s3a://bucket/tables/patients")
    for path in (site.root / "owner").rglob("*.parquet"):
        bucket.call("PUT", f"/bucket/tables/patients/{path.name}", path.read_bytes())
    grants = ("s3a://bucket/tables/patients", "read"), ("s3a://bucket/out/wards", "write")
    owner.allow(site.build(PROGRAM, small_spark), *grants, logs="clinic/data")
    return owner


def test_a_table_in_s3_is_read_and_written(site, bucket, clinic):
    assert site.run() == 0, site.log(clinic)
    assert "WARDS 2" in site.log(clinic)
    names = bucket.names("bucket", "out/wards")
    assert "out/wards/_confide.listing" in names
    assert len([name for name in names if name.endswith(".parquet")]) == 1
    for name in bucket.names("bucket"):
        assert b"canary" not in bucket.call("GET", f"/bucket/{name}")
    assert clinic.read(site.data, "s3a://bucket/out/wards").num_rows == 2


def test_an_object_put_in_anothers_place_is_refused(site, bucket, clinic):
    (name,) = [name for name in bucket.names("bucket", "tables/") if name.endswith(".parquet")]
    content = bucket.call("GET", f"/bucket/{name}")
    bucket.call("PUT", f"/bucket/{name}", content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    try:
        assert site.run() == 1
    finally:
        bucket.call("PUT", f"/bucket/{name}", content)
    assert site.log(clinic).rstrip().splitlines()[-1].startswith("confide: FileChanged: ")


@pytest.mark.slow
def test_executors_read_and_write_it_alike(site, bucket, clinic, small_spark):
    grants = ("s3a://bucket/tables/patients", "read"), ("s3a://bucket/out/wards", "write")
    executor = site.build_executor(PROGRAM, small_spark)
    clinic.allow(site.image, *grants, logs="clinic/data", executor=executor)
    code = site.run_job(executors=2)
    logs = "\n".join(site.logs(clinic))
    assert code == 0, logs
    assert "WARDS 2" in logs
    assert clinic.read(site.data, "s3a://bucket/out/wards").num_rows == 2
    for name in bucket.names("bucket"):
        assert b"canary" not in bucket.call("GET", f"/bucket/{name}")
