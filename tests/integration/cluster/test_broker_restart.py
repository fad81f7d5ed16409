"""A broker that is killed and started again in the middle of a job, and a key that is rotated meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from confide.broker.ca import CertificateAuthority
from confide.broker.home import Home
from confide.enclave.simulated.host import host_key
from confide.keys.material import Keyset
from confide.keys.signing import raw_public

from ...broker_process import BrokerProcess
from ..run.conftest import CHEAP, Served

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.timeout(1800)]

PASSPHRASE = b"passphrase of the tests"
ROWS = pa.table({"id": list(range(2000)), "value": [f"value-{i % 7}" for i in range(2000)]})
PROGRAM = """
import socket
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

spark = SparkSession.builder.getOrCreate()
rows = spark.read.parquet("data/rows")

def write(where):
    rows.repartition(4).groupBy("value").count().write.mode("overwrite").parquet(where)
    print("WROTE", where, spark.read.parquet(where).agg(F.sum("count")).first()[0])

def executors():
    found = spark.sparkContext._jsc.sc().statusStore().executorList(True)
    return {found.apply(i).id() for i in range(found.size())}

write("out/before")
with socket.create_connection(("127.0.0.1", PORT)) as outside:
    outside.recv(1)
while "3" not in executors():  # in place of the one that was lost
    time.sleep(0.2)
write("out/after")
"""


@pytest.fixture(scope="module")
def broker(site):
    """A broker in a process of its own, and the home that it serves."""
    secret = site.root / "passphrase"
    secret.write_bytes(PASSPHRASE)
    home = site.stack.enter_context(Home.create(site.root / "broker", PASSPHRASE, CHEAP))
    home.store.enroll_host(raw_public(host_key(site.host).public_key()))
    broker = BrokerProcess(site.root / "broker", secret, "127.0.0.1:0")
    site.stack.callback(broker.stop)
    broker.start()
    broker.await_ready()
    authority = CertificateAuthority.of(home.store).certificate_pem.decode()
    site.brokers["local"] = Served(home, broker.url, authority)
    return broker


@pytest.fixture(scope="module")
def job(site, new_owner, small_spark, broker):
    """Run it once, and return the owner and what it printed."""
    clinic = new_owner("clinic", site.brokers["local"], site.root)
    clinic.encrypt(ROWS, site.data, "data/rows")
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = PROGRAM.replace("PORT", str(server.getsockname()[1]))
        driver, executor = site.build(program, small_spark), site.build_executor(program, small_spark)
        written = [(name, "write", "clinic/data") for name in ("out/before", "out/after")]
        clinic.allow(driver, ("data/rows", "read"), *written, logs="clinic/data", executor=executor)

        def meanwhile() -> None:
            with contextlib.closing(server.accept()[0]):  # it goes on when this ends
                broker.kill()
                broker.start()
                broker.await_ready()
                clinic.store.rotate_key(clinic.key)
                end_executor(site)

        with in_thread(meanwhile):
            code = site.run_job()
    # The log of the executor that joined last lies under the new version.
    clinic.keyset = Keyset({clinic.key: clinic.store.key(clinic.key)})
    logs = site.logs(clinic)
    assert code == 0, "\n".join(logs)
    return clinic, next(log for log in logs if "WROTE" in log)


@contextlib.contextmanager
def in_thread(act):
    """Do something meanwhile; what fails there fails here."""
    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(act)
        yield
        done.result(60)


def end_executor(site) -> None:
    """End the JVM of executor 1, so that another has to join."""
    for process in site.processes():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{process}/cmdline").read_text().split("\0")
            if "confide.spark.ExecutorProcess" in words and words[words.index("--executor-id") + 1] == "1":
                os.kill(process, signal.SIGKILL)


def test_the_job_goes_on_and_its_log_is_whole(job):
    _, log = job
    said = [line for line in log.splitlines() if line.startswith("WROTE")]
    assert said == ["WROTE out/before 2000", "WROTE out/after 2000"]


def test_an_executor_joined_at_the_restarted_broker(site, job):
    started = [said["executor"] for said in site.said if "executor" in said and said["state"] == "started"]
    assert sorted(started) == [1, 2, 3]


def test_what_was_written_after_the_rotation_lies_under_the_new_version(site, job):
    clinic, _ = job
    assert versions(site, "out/before") == {1}
    assert versions(site, "out/after") == {2}
    for location in ("out/before", "out/after"):
        assert sum(clinic.read(site.data, location)["count"].to_pylist()) == 2000


def versions(site, location: str) -> set[int]:
    """Return which versions of the key wrap the data keys of a table's files; they name theirs."""
    files = [path.read_bytes() for path in (site.data / location).glob("part-*.parquet")]
    assert files
    found = {version for data in files for version in (1, 2) if f"clinic/data/{version}@".encode() in data}
    assert all(any(f"clinic/data/{version}@".encode() in data for version in (1, 2)) for data in files)
    return found
