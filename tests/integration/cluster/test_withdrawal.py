"""A policy that ends, or a key that is revoked, in the middle of a job with executors."""

from __future__ import annotations

import contextlib
import datetime
import socket
import time

import pyarrow as pa
import pytest

from confide.errors import ConfideError

from .test_broker_restart import in_thread

pytestmark = [pytest.mark.spark, pytest.mark.slow, pytest.mark.timeout(900)]

ROWS = pa.table({"value": [f"NEEDLE-4711-{i % 97}" for i in range(2000)]})
PROGRAM = """
import socket
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
rows = spark.read.parquet("data/rows")
rows.repartition(2).write.mode("overwrite").parquet("out/before")
with socket.create_connection(("127.0.0.1", PORT)) as outside:
    outside.recv(1)
rows.repartition(2).write.mode("overwrite").parquet("out/after")
print("WRITTEN")
"""
WRITTEN = [(location, "write", "clinic/data") for location in ("out/before", "out/after")]


def expire(clinic, allow):
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3)
    allow(clinic, until=soon.strftime("%Y-%m-%dT%H:%M:%SZ"))
    time.sleep(4)


def withdraw(clinic, allow):
    allow(clinic, until="2021-01-01T00:00:00Z")


def revoke(clinic, allow):
    clinic.store.revoke_key(clinic.key)


@pytest.mark.parametrize(
    ("end", "cause"), [(expire, "PolicyRefused"), (withdraw, "PolicyRefused"), (revoke, "RevokedKey")]
)
def test_the_job_fails_and_what_it_had_written_stays(end, cause, new_site, new_owner, small_spark):
    site = new_site()
    clinic = new_owner("clinic", site.broker("local"), site.root)
    clinic.encrypt(ROWS, site.data, "data/rows")
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = PROGRAM.replace("PORT", str(server.getsockname()[1]))
        driver, executor = site.build(program, small_spark), site.build_executor(program, small_spark)

        def allow(owner, **more):
            owner.allow(
                driver, ("data/rows", "read"), *WRITTEN, logs="clinic/data", executor=executor, **more
            )

        def meanwhile():
            with contextlib.closing(server.accept()[0]):
                end(clinic, allow)

        allow(clinic)
        with in_thread(meanwhile):
            try:
                code = site.run_job()
            except ConfideError as error:
                code = error.exit_code
    assert code != 0
    assert site.gone()
    said = "\n".join(site.logs(clinic))
    assert "WRITTEN" not in said
    assert f"confide: {cause}: " in said
    assert clinic.store.listing_at("clinic", "out/after") is None
    assert clinic.read(site.data, "out/before").num_rows == 2000
    for path in site.data.rglob("*"):
        assert not path.is_file() or b"NEEDLE" not in path.read_bytes(), path
