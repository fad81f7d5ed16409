"""The settings of Spark's web pages."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

from confide.errors import LaunchRefused
from confide.jvm.stores import Stores
from confide.spark.cluster_settings import Job
from confide.spark.server_store import KeyStore
from confide.spark.settings import settings
from confide.spark.web_pages import WebPages, sample

SCRATCH = PurePosixPath("/scratch")
PAGES = WebPages("127.0.0.1", 4440, KeyStore(Path("/run/confide/server.p12"), "5a" * 32))
JOB = Job("127.0.0.1", 2, Stores(Path("/run/confide/member.p12"), Path("/run/confide/job.p12"), "6b" * 32))
EXECUTOR = settings(SCRATCH, cores=1, job=JOB, executor=True)


def test_without_any_none_are_shown():
    assert settings(SCRATCH, cores=1).values()["spark.ui.enabled"] == "false"


def test_with_them_every_row_holds():
    values = settings(SCRATCH, cores=1, pages=PAGES).values()
    assert values.items() >= {row.name: row.value for row in PAGES.settings()}.items()


@pytest.mark.parametrize("row", PAGES.settings(), ids=lambda row: row.name)
def test_a_program_sets_none_otherwise(row):
    for value in ("", "x" + row.value, row.value + "\n"):
        with pytest.raises(LaunchRefused, match=row.name):
            settings(SCRATCH, cores=1, pages=PAGES).check({row.name: value})


@pytest.mark.parametrize(
    "name", ["spark.ssl.ui.enabled", "spark.ssl.ui.needClientAuth", "spark.ssl.rpc.protocol"]
)
def test_without_them_no_setting_of_tls(name):
    with pytest.raises(LaunchRefused, match=name):
        settings(SCRATCH, cores=1).check({name: "true"})


def test_an_executor_takes_its_driver_s():
    EXECUTOR.check({row.name: row.value for row in PAGES.settings()})


@pytest.mark.parametrize("name", ["spark.ssl.rpc.protocol", "spark.ssl.enabled", "spark.ssl.standalone.port"])
def test_and_no_other_setting_of_tls(name):
    with pytest.raises(LaunchRefused, match=name):
        EXECUTOR.check({name: "x"})


def test_the_password_is_in_no_text():
    table = settings(SCRATCH, cores=1, pages=PAGES)
    assert set(table.credentials.values()) == {PAGES.key_store.password}
    for text in (repr(PAGES), repr(table), repr(table.values())):
        assert PAGES.key_store.password not in text
    assert {row.name for row in sample().settings()} == {row.name for row in PAGES.settings()}
