"""Spark trusts everybody when its trust store is missing: here nothing starts then."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from confide.broker.mesh_certificate import Member, issue_member, job_authority
from confide.broker.mesh_member import MeshIdentity
from confide.broker.release import Release
from confide.enclave.agent_socket import AgentSocket
from confide.jvm.jar import spark_jars
from confide.jvm.stores import write_stores
from confide.spark import jvm
from confide.spark.image_spec import spark_jar

pytestmark = [pytest.mark.spark, pytest.mark.slow]

NOW = int(time.time())
SECRET = "5e" * 32
RELEASE = Release(workload="job", owners=("clinic",), keys={}, grants=(), expires=2**40)


@pytest.fixture(scope="module")
def jar(tmp_path_factory) -> Path:
    return spark_jar(tmp_path_factory.mktemp("jar"))


@pytest.fixture
def stores():
    authority, key = job_authority("1" * 32, NOW), ec.generate_private_key(ec.SECP256R1())
    certificate = issue_member(
        authority, key.public_key(), Member("d" * 64, "1" * 32, "executor"), NOW, NOW + 60
    )
    with tempfile.TemporaryDirectory(prefix="cf-") as folder:
        identity = MeshIdentity(
            Member("d" * 64, "1" * 32, "executor"), key, certificate, authority.certificate, SECRET
        )
        yield write_stores(identity, Path(folder))


def start(jar, stores, **changed):
    """Start an executor's JVM, whose driver nobody is; return what it says."""
    given = {"trustStore": str(stores.trust), "trustStorePassword": SECRET, **changed}
    given = {f"spark.ssl.rpc.{name}": value for name, value in given.items() if value is not None}
    password = "spark.ssl.rpc.trustStorePassword"
    credentials = {password: given.pop(password)} if password in given else {}
    properties = {
        **given,
        "spark.rpc.numRetries": "1",
        "spark.rpc.lookupTimeout": "2s",
    }
    rules = {"fixed": [{"name": "spark.ssl.rpc.trustStore", "accepts": ".*", "reason": "x"}], "forbidden": []}
    socket = stores.key.parent / "agent.sock"
    secrets = {"executor": {"properties": properties, "settings": rules, "credentials": credentials}}
    agent = AgentSocket(socket, RELEASE, "/work", "/scratch", secrets, None)
    argv = [shutil.which("java"), *jvm.MODULE_OPTIONS, f"-Dconfide.agent={socket}"]
    argv += ["-cp", ":".join(map(str, [jar, *spark_jars()])), jvm.EXECUTOR_CLASS]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=200)
    finally:
        agent.close()
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_with_its_trust_store_it_gets_as_far_as_its_arguments(jar, stores):
    said = start(jar, stores)
    assert "LaunchRefused" not in said
    assert "driver-url" in said  # Spark's own usage


@pytest.mark.parametrize("name", ["trustStore", "trustStorePassword"])
def test_not_set(jar, stores, name):
    assert "spark.ssl.rpc.trustStore is not set" in start(jar, stores, **{name: None})


def test_missing(jar, stores):
    stores.trust.unlink()
    assert "is missing, or does not open" in start(jar, stores)


def test_another_password(jar, stores):
    assert "is missing, or does not open" in start(jar, stores, trustStorePassword="x" * 64)


def test_a_second_authority(jar, stores):
    others = [job_authority(str(n) * 32, NOW).certificate for n in (1, 2)]
    named = [pkcs12.PKCS12Certificate(each, f"{n}".encode()) for n, each in enumerate(others)]
    stores.trust.chmod(0o600)
    stores.trust.write_bytes(
        pkcs12.serialize_java_truststore(named, BestAvailableEncryption(SECRET.encode()))
    )
    assert "exactly the certificate of the job's authority" in start(jar, stores)
