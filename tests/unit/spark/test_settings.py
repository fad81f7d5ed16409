import json
import re
from pathlib import Path, PurePosixPath

import pytest

from confide.jvm.enclave import direct_mib
from confide.jvm.stores import Stores
from confide.spark.settings import settings

TABLE = settings(PurePosixPath("/scratch"), cores=3)


def test_every_name_stands_once():
    names = [row.name for row in (*TABLE.fixed, *TABLE.default)]
    assert len(names) == len(set(names))


def test_every_row_has_a_reason_that_ends_a_sentence():
    for row in (*TABLE.fixed, *TABLE.default, *TABLE.forbidden):
        assert row.reason
        assert not row.reason.endswith(".")


@pytest.mark.parametrize("row", TABLE.fixed, ids=lambda row: row.name)
def test_own_value_passes_and_another_does_not(row):
    assert re.fullmatch(row.pattern, row.value)
    for other in ("", row.value + "x", "x" + row.value, row.value + ",mine", row.value + "\n"):
        if row.accepts is None:
            assert not re.fullmatch(row.pattern, other)


@pytest.mark.parametrize("row", TABLE.default, ids=lambda row: row.name)
def test_a_default_is_not_forbidden(row):
    assert not any(re.fullmatch(rule.name, row.name) for rule in TABLE.forbidden)


@pytest.mark.parametrize(
    "master", ["spark://h:7077", "yarn", "k8s://x", "local-cluster[2,1,1024]", "localhost", "mesos://x", ""]
)
def test_other_masters_are_refused(master):
    assert not re.fullmatch(_fixed("spark.master").pattern, master)


@pytest.mark.parametrize("master", ["local", "local[1]", "local[*]", "local[4, 2]"])
def test_local_masters_pass(master):
    assert re.fullmatch(_fixed("spark.master").pattern, master)


@pytest.mark.parametrize(
    "name",
    [
        "spark.jars",
        "spark.jars.packages",
        "spark.jars.ivySettings",
        "spark.files",
        "spark.archives",
        "spark.submit.pyFiles",
        "spark.driver.extraClassPath",
        "spark.pyspark.python",
        "spark.pyspark.driver.python",
        "spark.metrics.conf.*.sink.csv.class",
        "spark.remote",
        "spark.connect.grpc.binding.port",
        "spark.hadoop.fs.new.impl",
        "spark.hadoop.fs.file.impl.disable.cache",
        "spark.hadoop.fs.AbstractFileSystem.new.impl",
        "spark.hadoop.parquet.crypto.other",
        "spark.hadoop.parquet.encryption.kms.client.class",
        "spark.sql.parquet.output.committer.class",
    ],
)
def test_forbidden(name):
    assert any(re.fullmatch(rule.name, name) for rule in TABLE.forbidden)


@pytest.mark.parametrize(
    "name",
    [
        "spark.app.name",
        "spark.sql.shuffle.partitions",
        "spark.hadoop.fs.s3a.endpoint",
        "spark.driver.memory",
        "spark.serializer",
        "spark.executorEnv.TZ",
    ],
)
def test_ordinary_settings_are_the_programs(name):
    assert not any(re.fullmatch(rule.name, name) for rule in TABLE.forbidden)
    assert name not in {row.name for row in TABLE.fixed}


def test_places_are_below_the_scratch():
    other = settings(PurePosixPath("/elsewhere"), cores=1).values()
    assert not any("/scratch" in value for value in other.values())


def test_rules_are_json():
    rules = TABLE.rules()
    assert json.loads(json.dumps(rules)) == rules
    assert rules["fixed"][0].keys() == {"name", "accepts", "reason"}


def test_cores():
    assert TABLE.values()["spark.master"] == "local[3]"


def _fixed(name):
    return next(row for row in TABLE.fixed if row.name == name)


def test_an_enclave_fetches_blocks_into_no_more_memory_than_its_smallest_jvm_has():
    table = settings(PurePosixPath("/scratch"), cores=1, enclave=True).values()
    assert int(table["spark.network.maxRemoteBlockSizeFetchToMem"].removesuffix("m")) < direct_mib(0)


def test_where_the_host_carries_the_loopback_device_spark_speaks_tls_with_itself():
    stores = Stores(Path("/scratch/member.p12"), Path("/scratch/job.p12"), "5a" * 32)
    table = settings(PurePosixPath("/scratch"), cores=1, enclave=True, stores=stores)
    values = table.values()
    assert values["spark.ssl.rpc.enabled"] == "true"
    assert values["spark.ssl.rpc.protocol"] == "TLSv1.3"
    assert values["spark.ssl.rpc.trustStore"] == "/scratch/job.p12"
    assert values["spark.network.crypto.enabled"] == "false"
    assert values["spark.driver.bindAddress"] == "127.0.0.1"
    # All that holds elsewhere holds here, but the cipher that TLS replaces.
    missing = {row.name for row in TABLE.fixed} - {row.name for row in table.fixed}
    assert missing == {"spark.network.crypto.authEngineVersion", "spark.network.crypto.cipher"}
    assert "5a" * 32 not in repr(stores)
