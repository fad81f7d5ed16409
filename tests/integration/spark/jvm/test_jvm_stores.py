"""Locations of schemes of their own (s3a://bucket/...), which the host has at folders of the data root."""

from __future__ import annotations

import shutil

import pytest

pytestmark = pytest.mark.spark

STORES = ("s3a://bucket", "hdfs://namenode:8020/user")


def numbers(world, count=10):
    return world.spark.range(count).selectExpr("id", "cast(id as string) as name")


@pytest.fixture(params=STORES)
def store(request):
    return request.param


def test_a_table_is_read(world, store):
    assert world.spark.read.parquet(f"{store}/read").count() == 1000
    assert world.spark.sql(f"SELECT max(id) FROM parquet.`{store}/read`").first()[0] == 999


def test_a_table_is_written_and_replaced_and_its_owner_reads_it(world, store):
    numbers(world).write.mode("overwrite").parquet(f"{store}/table")
    numbers(world, 3).write.mode("overwrite").parquet(f"{store}/table")
    numbers(world, 4).write.mode("append").parquet(f"{store}/table")
    assert world.spark.read.parquet(f"{store}/table").count() == 7
    assert sorted(world.python(f"{store}/table")["id"].to_pylist()) == [0, 0, 1, 1, 2, 2, 3]


def test_files_are_sealed(world, store):
    numbers(world).selectExpr("'canary' as text").write.mode("overwrite").text(f"{store}/files/lines")
    assert world.spark.read.text(f"{store}/files/lines").count() == 10
    stored = [path for path in world.path(f"{store}/files").rglob("part-*") if path.is_file()]
    assert stored
    assert not [path for path in stored if b"canary" in path.read_bytes()]


def test_a_stream_keeps_its_state_there(world, store):
    def run():
        stream = world.spark.readStream.schema("id long, name string, ssn string").parquet(f"{store}/read")
        place = f"{store}/files/checkpoint"
        query = stream.writeStream.trigger(availableNow=True).option("checkpointLocation", place)
        done = query.foreachBatch(lambda batch, _: counts.append(batch.count())).start()
        done.awaitTermination()

    counts: list[int] = []
    run()
    run()
    assert sum(counts) == 1000


@pytest.mark.parametrize(
    "path",
    ["s3a://bucket/other", "s3a://other/read", "s3a://bucket/read/../other", "s3a://bucket/", "s3a://b"],
)
def test_what_is_not_granted(world, path):
    with pytest.raises(Exception, match="NoGrant: "):
        numbers(world).write.mode("append").parquet(path)
    with pytest.raises(Exception, match="NoGrant: "):
        world.spark.read.text(path).collect()


@pytest.mark.parametrize("path", ["s3a/bucket/read", "s3a/bucket/table", "s3a"])
def test_the_folder_itself_is_not_granted(world, path):
    for name in (path, world.uri(path)):
        with pytest.raises(Exception, match="NoGrant: "):
            world.spark.read.parquet(name).collect()


@pytest.mark.parametrize("path", ["gs://bucket/x", "gs:///x", "s3a:///bucket/read", "s3a:/bucket/read"])
def test_a_scheme_without_storage_or_a_path_without_a_bucket(world, path):
    with pytest.raises(Exception, match="no storage of scheme"):
        world.spark.read.parquet(path).collect()


def test_a_bucket_that_the_host_has_not_mounted(world):
    with pytest.raises(Exception, match="StorageUnavailable: the data root has no folder s3a/elsewhere"):
        numbers(world).write.parquet("s3a://elsewhere/table")
    assert not world.path("s3a://elsewhere").exists()


@pytest.mark.parametrize("how", ["flip", "missing", "unlisted", "link", "linked folder"])
def test_a_store_that_lies(world, how, tmp_path):
    where = world.path("s3a://bucket/read")
    kept = tmp_path / "kept"
    shutil.copytree(where, kept)
    first, _ = sorted(where.glob("*.parquet"))
    error = "FileChanged"
    try:
        if how == "flip":
            data = bytearray(first.read_bytes())
            data[-40] ^= 1  # in the footer, which the listing binds
            first.write_bytes(data)
        elif how == "missing":
            first.unlink()
            error = "FileMissing"
        elif how == "unlisted":
            shutil.copy(first, where / "part-more.parquet")
            error = "FileUnlisted"
        elif how == "link":
            first.rename(where.parent / "moved.parquet")
            first.symlink_to(where.parent / "moved.parquet")
        else:
            where.rename(where.parent / "moved")
            where.symlink_to(where.parent / "moved")
        with pytest.raises(Exception, match=error):
            world.spark.read.parquet("s3a://bucket/read").agg({"name": "max"}).collect()
    finally:
        for path in (where.parent / "moved", where.parent / "moved.parquet"):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
        where.unlink() if where.is_symlink() else shutil.rmtree(where)
        shutil.copytree(kept, where)
    assert world.spark.read.parquet("s3a://bucket/read").count() == 1000
