"""Spark Connect as its clients meet it: over TLS, by token, with queries but no code. Only the enclave is missing."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from pyspark.errors import PySparkException
from pyspark.sql.connect.client import DefaultChannelBuilder
from pyspark.sql.connect.functions import builtin as F
from pyspark.sql.connect.proto import base_pb2, base_pb2_grpc
from pyspark.sql.types import LongType

from confide.errors import AttestationRefused, NoGrant, Unavailable
from confide.spark import server as server_module
from confide.spark.client import VerifiedChannel

from .servers import READY_S, Server, accepted, authority, release, serving, token_of

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def connect_server(profile, module_context) -> Iterator[Server]:
    with serving(profile, *module_context, 'version = 1\nserver = "connect"\n') as server:
        yield server


@pytest.fixture(autouse=True)
def _client(monkeypatch):
    monkeypatch.setenv("SPARK_CONNECT_MODE_ENABLED", "1")


def refused(action: Callable[[], Any], reason: str) -> None:
    with pytest.raises(PySparkException, match=reason):
        action()


def test_clients_queries(connect_server):
    spark = connect_server.session()
    rows = spark.range(1000).withColumn("k", F.col("id") % 7).groupBy("k").count().orderBy("k").collect()
    assert [row["count"] for row in rows] == [143] * 6 + [142]
    assert spark.sql("SELECT :a + 1 AS x", args={"a": 41}).collect()[0].x == 42
    big = spark.createDataFrame([(i, "x" * 100) for i in range(5000)], "id long, text string")
    big.createOrReplaceTempView("big")
    assert spark.sql("SELECT count(*) AS n FROM big WHERE id >= 10").collect()[0].n == 4990


def test_clients_run_no_code_and_weaken_nothing(connect_server):
    spark = connect_server.session()
    what_is_refused = (
        (
            lambda: spark.range(1).select(F.udf(lambda x: x, LongType())("id")).collect(),
            "PythonUDF: code of clients",
        ),
        (lambda: spark.range(1).mapInPandas(lambda frames: frames, "id long").collect(), "PythonUDF"),
        (lambda: spark.range(1).groupBy("id").applyInPandas(lambda f: f, "id long").collect(), "PythonUDF"),
        (lambda: spark.udf.register("f", lambda x: x, "long"), "PythonUDF"),
        (lambda: spark.udf.registerJavaFunction("f", "java.lang.String"), "JavaUDF"),
        (
            lambda: spark.sql("SELECT reflect('java.lang.System', 'getProperty', 'user.home')").collect(),
            "reflect",
        ),
        (lambda: spark.sql("SELECT java_method('java.lang.System', 'getenv', 'HOME')").collect(), "reflect"),
        (
            lambda: spark.sql("SELECT (SELECT try_reflect('java.lang.System', 'getenv', 'x'))").collect(),
            "reflect",
        ),
        (lambda: spark.range(1).select(F.call_function("reflect", F.lit("a"), F.lit("b"))).collect(), "."),
        (
            lambda: spark.sql(
                "CREATE OR REPLACE TEMP VIEW v AS SELECT reflect('java.lang.System', 'getenv', 'x')"
            ),
            "reflect",
        ),
        (lambda: spark.sql("SELECT TRANSFORM(id) USING 'cat' AS x FROM range(1)").collect(), "TRANSFORM"),
        (lambda: spark.sql("ADD JAR '/tmp/x.jar'").collect(), "ADD JAR"),
        (lambda: spark.sql("ADD FILE '/tmp/x'").collect(), "ADD FILE"),
        (lambda: spark.sql("ADD ARCHIVE '/tmp/x'").collect(), "ADD ARCHIVE"),
        (lambda: spark.sql("CREATE TEMPORARY FUNCTION f AS 'a.B'").collect(), "CREATE FUNCTION"),
        (lambda: spark.sql("SET spark.sql.variable.substitute=true").collect(), "variable.substitute"),
        (lambda: spark.conf.set("spark.sql.variable.substitute", "true"), "variable.substitute"),
        (lambda: spark.conf.set("spark.sql.extensions", "x"), "extensions"),
        (lambda: spark.conf.set("spark.sql.catalog.mine", "a.Catalog"), "spark.sql.catalog.mine"),
        (lambda: spark.conf.set("fs.file.impl", "org.apache.hadoop.fs.RawLocalFileSystem"), "fs.file.impl"),
        (lambda: _read(spark, "fs.file.impl.disable.cache", "true"), "disable.cache"),
        (lambda: _read(spark, "FS.file.impl.disable.cache", "true"), "disable.cache"),
        (
            lambda: spark.sql("SET spark.sql.analyzer.singlePassResolver.enabledTentatively=true").collect(),
            "singlePassResolver",
        ),
        (lambda: spark.sql("SET spark.redaction.regex=zzz").collect(), "redaction"),
        (
            lambda: spark.sql("SET spark.sql.legacy.setCommandRejectsSparkCoreConfs=false").collect(),
            "setCommandRejects",
        ),
        (lambda: _view(spark, "fs.file.impl.disable.cache", "true"), "disable.cache"),
        (lambda: spark.read.text("/proc/self/environ").collect(), "NoGrant"),
        (lambda: spark.range(1).write.csv("/work/out"), "NoGrant"),
        (lambda: _jdbc(spark), "provider"),
    )
    faults = []
    for number, (action, reason) in enumerate(what_is_refused):
        try:
            refused(action, reason)
        except BaseException as error:  # told all at once: a server takes a while to start
            faults.append(f"{number} {reason}: {error!r}"[:1000])
    assert not faults, "\n".join(faults)


def _read(spark: Any, name: str, value: str) -> Any:
    return spark.read.option(name, value).text("/proc/self/environ").collect()


def _view(spark: Any, name: str, value: str) -> Any:
    return spark.sql(
        f"CREATE TEMPORARY VIEW w USING text OPTIONS ('{name}' '{value}', path '/proc/self/environ')"
    )


def _jdbc(spark: Any) -> Any:
    options = {"url": "jdbc:derby:memory:x;create=true", "dbtable": "sysibm.sysdummy1"}
    return spark.read.format("jdbc").options(**options).load().collect()


def test_artifacts_are_data_only(connect_server, tmp_path):
    spark = connect_server.session()
    for name in ("x.jar", "x.py", "x.txt"):
        (tmp_path / name).write_text("")
    refused(lambda: spark.addArtifacts(str(tmp_path / "x.jar")), "artifact jars/x.jar: code of clients")
    refused(lambda: spark.addArtifacts(str(tmp_path / "x.py"), pyfile=True), "artifact pyfiles/x.py")
    refused(lambda: spark.addArtifacts(str(tmp_path / "x.txt"), file=True), "artifact files/x.txt")


def test_an_artifact_does_not_climb_into_the_folders_of_code(connect_server):
    with VerifiedChannel(connect_server.url, accepted(), token_of(1)).toChannel() as channel:
        stub = base_pb2_grpc.SparkConnectServiceStub(channel)
        for name in (
            "cache/../classes/Evil.class",
            "cache/x",
            "cache/..",
            "pyfiles/../jars/e.jar",
            "cache\\..\\classes\\E",
        ):
            chunk = base_pb2.AddArtifactsRequest.SingleChunkArtifact(name=name)
            chunk.data.data = b"x"
            request = base_pb2.AddArtifactsRequest(
                session_id=str(uuid.uuid4()), batch=base_pb2.AddArtifactsRequest.Batch(artifacts=[chunk])
            )
            with pytest.raises(grpc.RpcError, match="code of clients"):
                stub.AddArtifacts(iter([request]))


def test_what_is_unset_is_missed(connect_server):
    spark = connect_server.session()
    spark.conf.unset("spark.sql.variable.substitute")
    refused(lambda: spark.sql("SELECT '${env:HOME}'").collect(), "unsetting spark.sql.variable.substitute")


def test_subqueries_in_subqueries_take_no_longer_each(connect_server):
    spark = connect_server.session()
    assert spark.sql("SELECT " + 24 * "(SELECT " + "1" + 24 * ")").collect()[0][0] == 1


def test_secrets_among_the_settings_are_not_told(connect_server):
    spark = connect_server.session()
    told = spark.conf.getAll
    assert told["spark.authenticate"] == "true"
    assert not [name for name, value in told.items() if "secret" in name.lower() and value]
    assert spark.sql("SELECT '${spark.master}' AS x").collect()[0].x == "${spark.master}"


@pytest.mark.parametrize("given", ["", "0" * 64, "x", None])
def test_who_has_no_token_is_not_served(connect_server, given):
    root = VerifiedChannel(connect_server.url, accepted(), "x")
    channel = grpc.secure_channel(root.endpoint, grpc.ssl_channel_credentials(authority(connect_server)))
    stub = base_pb2_grpc.SparkConnectServiceStub(channel)
    request = base_pb2.ConfigRequest(session_id=str(uuid.uuid4()))
    metadata = [] if given is None else [("authorization", f"Bearer {given}")]
    with pytest.raises(grpc.RpcError) as error:
        stub.Config(request, metadata=metadata, timeout=30)
    assert error.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_nothing_is_said_in_clear(connect_server):
    endpoint = DefaultChannelBuilder(connect_server.url).endpoint
    stub = base_pb2_grpc.SparkConnectServiceStub(grpc.insecure_channel(endpoint))
    with pytest.raises(grpc.RpcError) as error:
        stub.Config(base_pb2.ConfigRequest(), timeout=20)
    assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_nothing_is_sent_to_a_server_that_is_not_accepted(connect_server):
    with pytest.raises(AttestationRefused, match="step 5"):
        connect_server.session(accepted=accepted(measurements=("cd" * 32,)))


def test_functions_in_python_where_the_owner_allows_them(profile, make_context, short_path):
    text = 'version = 1\nserver = "connect"\npython_functions = true\n'
    with serving(profile, make_context, short_path, text) as server:
        spark = server.session()
        secrets = F.udf(
            lambda _: str(sorted(n for n in os.environ if "CONFIDE" in n or "SECRET" in n)), "string"
        )
        assert spark.range(3).select(F.udf(lambda x: x + 1, LongType())("id").alias("y")).collect()[2].y == 3
        assert spark.range(1).select(secrets("id").alias("s")).collect()[0].s == "[]"
        refused(lambda: spark.udf.registerJavaFunction("f", "java.lang.String"), "JavaUDF")
        refused(lambda: spark.addArtifacts("/etc/hostname", file=True), "artifact files/")


def test_tokens_follow_the_key_and_a_withdrawn_policy_ends_the_server(
    profile, make_context, short_path, monkeypatch
):
    monkeypatch.setattr(server_module, "REFRESH_S", 0.2)
    with serving(profile, make_context, short_path, 'version = 1\nserver = "connect"\n') as server:
        assert served(server, 1)
        assert not served(server, 2)
        server.now = release(1, 2)  # rotated
        eventually(lambda: served(server, 2))
        assert served(server, 1)
        server.now = release(2)  # the first version revoked
        eventually(lambda: not served(server, 1))
        assert served(server, 2)
        server.now = Unavailable("the broker is away")
        server.asked.clear()
        assert server.asked.wait(READY_S)
        assert served(server, 2)
        server.now = NoGrant("withdrawn")
        assert server.ended.wait(READY_S)
        assert isinstance(server.error, NoGrant)


def served(server: Server, version: int) -> bool:
    channel = grpc.secure_channel(
        server.url.removeprefix("sc://"), grpc.ssl_channel_credentials(authority(server))
    )
    request = base_pb2.ReleaseSessionRequest(session_id=str(uuid.uuid4()))
    try:
        base_pb2_grpc.SparkConnectServiceStub(channel).ReleaseSession(
            request, metadata=[("authorization", f"Bearer {token_of(version)}")], timeout=30
        )
    except grpc.RpcError as error:
        return error.code() is not grpc.StatusCode.UNAUTHENTICATED
    return True


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)
