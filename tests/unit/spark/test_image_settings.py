"""Settings of an image: what `--conf` may say, in local mode and with executors elsewhere."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from confide.errors import LaunchRefused, Misuse
from confide.spark.image_spec import check_settings
from confide.spark.settings import settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spark.ui.enabled", "true"),
        ("spark.plugins", ""),
        ("spark.authenticate", "false"),
        ("spark.authenticate.secret", "mine"),
        ("spark.ssl.rpc.enabled", "false"),
        ("spark.ssl.rpc.trustStore", "/work/mine"),
        ("spark.ssl.ui.enabled", "true"),
        ("spark.network.crypto.enabled", "true"),
        ("spark.network.crypto.enabled", "false"),
        ("spark.network.crypto.saslFallback", "true"),
        ("spark.shuffle.service.enabled", "true"),
        ("spark.master", "spark://h:7077"),
        ("spark.jars", "/work/x.jar"),
        ("spark.driver.extraClassPath", "/work"),
        ("spark.hadoop.fs.mine.impl", "x"),
        ("spark.eventLog.dir", "file:///work"),
        ("spark.pyspark.python", "python3"),
        ("spark.ui.store.path", "/work/out/report"),
        ("spark.driver.log.localDir", "/work/out/report"),
    ],
)
def test_one_that_weakens_is_refused_by_name(name, value):
    with pytest.raises(LaunchRefused, match=f"^{name}={value} would weaken the protection: "):
        check_settings({"spark.sql.shuffle.partitions": "8", name: value})


@pytest.mark.parametrize("name", ["sql.shuffle.partitions", "", "Spark.x", "fs.file.impl"])
def test_what_is_no_setting_of_spark(name):
    with pytest.raises(Misuse):
        check_settings({name: "1"})


def test_others_go_before_our_defaults_and_never_before_what_is_fixed():
    own = {
        "spark.sql.shuffle.partitions": "8",
        "spark.sql.parquet.compression.codec": "snappy",
        "spark.eventLog.dir": "sealed:///work/events",
    }
    check_settings(own)
    table = settings(PurePosixPath("/scratch"), cores=2, own=own)
    assert own.items() <= table.values().items()
    assert table.values()["spark.ui.enabled"] == "false"
