"""The settings of a job whose executors run elsewhere."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

import pytest

from confide.enclave.launch import EXECUTOR_LAUNCH
from confide.jvm.settings import Setting
from confide.jvm.stores import Stores
from confide.spark.cluster_settings import Job
from confide.spark.settings import settings

SECRET = "5a" * 32
STORES = Stores(Path("/run/confide/member.p12"), Path("/run/confide/job.p12"), SECRET)
JOB = Job("10.0.0.7", 3, STORES)
TABLE = settings(PurePosixPath("/scratch"), cores=2, job=JOB)
LOCAL = settings(PurePosixPath("/scratch"), cores=2)
FIXED = {row.name: row for row in TABLE.fixed}


def test_executors_take_the_tables_of_their_driver_s_state_and_of_no_other():
    def rows(tables: str) -> list[Setting]:
        job = Job("10.0.0.7", 3, STORES, tables)
        fixed = settings(PurePosixPath("/scratch"), cores=2, job=job).fixed
        return [row for row in fixed if row.name == "spark.confide.streamed"]

    (row,) = rows("ab" * 32)
    assert re.fullmatch(row.pattern, "ab" * 32)
    assert not re.fullmatch(row.pattern, "cd" * 32)
    assert rows("") == []


def test_every_name_stands_once():
    names = [row.name for row in (*TABLE.fixed, *TABLE.default)]
    assert len(names) == len(set(names))


def test_all_that_is_fixed_in_local_mode_is_fixed_here_but_its_own_network():
    missing = {row.name for row in LOCAL.fixed} - FIXED.keys()
    assert missing == {"spark.network.crypto.authEngineVersion", "spark.network.crypto.cipher"}  # TLS instead


@pytest.mark.parametrize("row", TABLE.fixed, ids=lambda row: row.name)
def test_own_value_passes_and_another_does_not(row):
    assert re.fullmatch(row.pattern, row.value)
    if row.accepts is None:
        for other in ("", row.value + "x", "x" + row.value, row.value + "\n"):
            assert not re.fullmatch(row.pattern, other)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spark.ssl.rpc.enabled", "false"),
        ("spark.ssl.rpc.protocol", "TLSv1.2"),
        ("spark.ssl.rpc.trustStore", ""),
        ("spark.ssl.rpc.trustStore", "/work/mine.p12"),
        ("spark.ssl.rpc.trustStoreReloadingEnabled", "true"),
        ("spark.authenticate", "false"),
        ("spark.authenticate.secret", "mine"),
        ("spark.hadoop.hadoop.security.credential.provider.path", "jceks://file/work/mine"),
        ("spark.network.crypto.saslFallback", "true"),
        ("spark.authenticate.enableSaslEncryption", "true"),
        ("spark.shuffle.service.enabled", "true"),
        ("spark.master", "spark://h:7077"),
        ("spark.master", "k8s://x"),
        ("spark.master", "confide://0"),
        ("spark.master", "confide://2/../x"),
        ("spark.driver.host", "a b"),
    ],
)
def test_what_would_weaken_the_channel_is_refused(name, value):
    assert not re.fullmatch(FIXED[name].pattern, value)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "spark.ssl.enabled",
            "spark.ssl.rpc.openSslEnabled",
            "spark.ssl.rpc.certChain",
            "spark.ssl.ui.port",
        ),
        "spark.ssl.rpc.trustStorePassword",
    ],
)
def test_no_other_setting_of_tls(name):
    assert any(re.fullmatch(rule.name, name) for rule in TABLE.forbidden)
    assert name not in FIXED


def test_the_secret_is_in_no_setting_and_no_text():
    assert set(TABLE.credentials.values()) == {SECRET}
    assert not [name for name, value in TABLE.values().items() if SECRET in value or "assword" in name]
    assert SECRET not in repr(JOB)
    assert SECRET not in repr(TABLE)
    for row in TABLE.rules()["fixed"]:
        assert SECRET not in row["reason"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mesh_job", "0" * 31),
        ("mesh_member", "0"),
        ("mesh_member", "1 --cores 99"),
        ("driver", "h:1 --x"),
        ("application", "a b"),
        ("host", "a b"),
        ("cores", "0"),
        ("cores", "1000"),
    ],
)
def test_an_executor_s_launch_parameters_hold_no_arguments_of_their_own(name, value):
    assert not re.fullmatch(EXECUTOR_LAUNCH[name], value)
