import re
from pathlib import Path, PurePosixPath

import pytest

from confide.flink.settings import settings
from confide.jvm.stores import Stores

OWN = Stores(Path("/run/confide/flink/member.p12"), Path("/run/confide/flink/job.p12"), "s3cret")
TABLE = settings(PurePosixPath("/scratch"), PurePosixPath("/opt/python"), OWN, cores=3)


def _fixed(name):
    return next(row for row in TABLE.fixed if row.name == name)


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
        assert not re.fullmatch(row.pattern, other)


@pytest.mark.parametrize("row", [*TABLE.fixed, *TABLE.default], ids=lambda row: row.name)
def test_no_row_of_ours_is_forbidden(row):
    assert not any(re.fullmatch(rule.name, row.name) for rule in TABLE.forbidden)


@pytest.mark.parametrize(
    "name",
    [
        "pipeline.jars",
        "pipeline.classpaths",
        "env.java.opts.all",
        "python.files",
        "python.archives",
        "python.requirements",
        "metrics.reporters",
        "metrics.reporter.prom.factory.class",
        "traces.reporter.otel.factory.class",
        "fs.default-scheme",
        "fs.allowed-fallback-filesystems",
        "plugin.classloader.parent-first-patterns.additional",
        "classloader.resolve-order",
        "fs.hdfs.hadoopconf",
        "flink.hadoop.fs.mine.impl",
        "flink.hadoop.fs.viewfs.mounttable.default.link./mine",
        "flink.hadoop.fs.file.impl.disable.cache",
    ],
)
def test_forbidden_names(name):
    assert any(re.fullmatch(rule.name, name) for rule in TABLE.forbidden)


def test_what_hadoop_would_open_goes_through_the_guard():
    assert _fixed("flink.hadoop.fs.file.impl").value == "confide.LocalGuard"
    for scheme in ("har", "viewfs", "hdfs", "http", "s3a"):
        assert _fixed(f"flink.hadoop.fs.{scheme}.impl").value == "confide.GuardFileSystem"


def test_every_temporary_folder_is_scratch():
    for name in (
        "io.tmp.dirs",
        "process.working-dir",
        "process.taskmanager.working-dir",
        "blob.storage.directory",
        "web.tmpdir",
        "execution.checkpointing.local-backup.dirs",
        "state.backend.rocksdb.localdir",
        "state.backend.rocksdb.log.dir",
        "state.backend.forst.local-dir",
        "state.backend.forst.log.dir",
        "state.backend.forst.cache.dir",
    ):
        assert _fixed(name).value.startswith("/scratch/")


def test_nobody_else_keeps_state_or_is_told_it():
    assert _fixed("high-availability.type").value == "NONE"
    assert _fixed("queryable-state.enable").value == "false"


def test_tls_on_every_side_with_verification_of_peers():
    for side in ("internal", "rest"):
        assert _fixed(f"security.ssl.{side}.enabled").value == "true"
    for part in ("taskmanager.data", "blob.service", "pekko"):
        assert _fixed(f"{part}.ssl.enabled").value == "true"
    assert _fixed("security.ssl.rest.authentication-enabled").value == "true"
    assert _fixed("security.ssl.protocol").value == "TLSv1.3"
