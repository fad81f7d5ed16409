"""What the operator of the storage may try with a table, each with the rule that says no."""

from __future__ import annotations

import shutil

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.spark


def refused(world, where, match):
    with pytest.raises(Exception, match=match):
        world.spark.read.parquet(world.uri(where)).selectExpr("sum(hash(*))").collect()


def flip(path, offset):
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.fixture(params=["python wrote", "spark wrote"])
def table(world, request):
    """Return a function that makes a fresh table of two files."""

    def make(name):
        if request.param == "python wrote":
            return f"tampered/{name}"
        where = world.fresh("uniform")
        world.spark.range(1000).repartition(2).write.parquet(world.uri(where))
        return where

    return make


def test_flip_in_the_data(world, table):
    where = table("flip")
    flip(world.data_file(where), 60)
    refused(world, where, "GCM tag check failed|Tag mismatch|TagVerification")


def test_flip_in_the_footer(world, table):
    where = table("footer")
    flip(world.data_file(where), -60)
    refused(world, where, "FileChanged")


def test_truncated(world, table):
    where = table("truncate")
    file = world.data_file(where)
    file.write_bytes(file.read_bytes()[:-1])
    refused(world, where, "FileChanged")


def test_two_files_swapped(world, table):
    where = table("swap")
    a, b = world.data_file(where, 0), world.data_file(where, 1)
    one, two = a.read_bytes(), b.read_bytes()
    a.write_bytes(two)
    b.write_bytes(one)
    refused(world, where, "FileChanged")


def test_one_file_in_place_of_another(world, table):
    where = table("repeat")
    shutil.copy(world.data_file(where, 0), world.data_file(where, 1))
    refused(world, where, "FileChanged")


def test_missing_file(world, table):
    where = table("missing")
    world.data_file(where).unlink()
    refused(world, where, "FileMissing")


def test_plain_file_in_place(world, table):
    where = table("plain")
    file = world.data_file(where)
    size = file.stat().st_size
    pq.write_table(_plain(), file)
    assert size != file.stat().st_size
    refused(world, where, "FileChanged|NotEncrypted")


def _plain():
    import pyarrow as pa

    return pa.table({"id": [1]})


def test_plain_file_of_the_same_size(world):
    where = world.fresh("uniform")
    world.spark.range(10).coalesce(1).write.parquet(world.uri(where))
    file = world.data_file(where)
    data = file.read_bytes()
    file.write_bytes(b"PAR1" + data[4:-4] + b"PAR1")
    refused(world, where, "NotEncrypted")


def test_unlisted_file(world, table):
    where = table("unlisted")
    file = world.data_file(where)
    shutil.copy(file, file.with_name("part-99999.parquet"))
    refused(world, where, "FileUnlisted")
    with pytest.raises(Exception, match="FileUnlisted"):
        world.spark.read.parquet(str(file.with_name("part-99999.parquet"))).collect()


def test_unlisted_file_in_a_folder(world):
    where = world.fresh("uniform")
    world.spark.range(10).write.parquet(world.uri(where))
    (world.path(where) / "sub").mkdir()
    shutil.copy(world.data_file(where), world.path(where) / "sub" / "x.parquet")
    refused(world, where, "FileUnlisted")


def test_file_of_another_table(world, table):
    where = table("foreign")
    other = world.fresh("uniform")
    world.spark.range(1000).coalesce(1).write.parquet(world.uri(other))
    shutil.copy(world.data_file(other), world.data_file(where))
    refused(world, where, "FileChanged")


def test_a_file_of_another_table_that_the_listing_names(world):
    """Same key, and size and binding as listed: the identifier inside still says another table."""
    refused(world, "claims/another", "FileChanged: the Parquet file belongs to another table")


def test_old_files_and_old_listing(world, tmp_path):
    where = world.fresh("uniform")
    world.spark.range(10).write.parquet(world.uri(where))
    shutil.copytree(world.path(where), tmp_path / "old")
    world.spark.range(20).write.mode("overwrite").parquet(world.uri(where))
    shutil.rmtree(world.path(where))
    shutil.copytree(tmp_path / "old", world.path(where))
    refused(world, where, "FileMissing|FileUnlisted")


def test_old_files_under_new_names(world, tmp_path):
    where = world.fresh("uniform")
    world.spark.range(10).coalesce(1).write.parquet(world.uri(where))
    old = world.data_file(where).read_bytes()
    world.spark.range(10, 20).coalesce(1).write.mode("overwrite").parquet(world.uri(where))
    world.data_file(where).write_bytes(old)
    refused(world, where, "FileChanged")


def test_the_whole_folder_missing(world):
    where = world.fresh("uniform")
    world.spark.range(10).write.parquet(world.uri(where))
    shutil.rmtree(world.path(where))
    refused(world, where, "FileMissing")


def test_nothing_was_ever_committed(world):
    world.path("read/nothing").mkdir(parents=True)
    pq.write_table(_plain(), world.path("read/nothing") / "a.parquet")
    refused(world, "read/nothing", "FileMissing: nothing was committed")


def test_a_link_in_place_of_the_listing_s_copy(world, tmp_path):
    """It would have the copy overwrite whatever the JVM may write, beside the location."""
    where = world.fresh("uniform")
    world.spark.range(10).write.parquet(world.uri(where))
    copy, target = world.path(where) / "_confide.listing", tmp_path / "target"
    first = copy.read_bytes()
    target.write_text("another's")
    copy.unlink()
    copy.symlink_to(target)
    world.spark.range(10).write.mode("append").parquet(world.uri(where))
    assert target.read_text() == "another's"
    assert not copy.is_symlink()
    assert copy.read_bytes()[:8] == first[:8] == b"CONFIDE\x01"
    assert sorted(path.name for path in copy.parent.glob(".*") if "listing" in path.name) == []


def test_a_file_laid_down_before_the_first_write(world):
    where = world.fresh("uniform")
    world.path(where).mkdir(parents=True)
    pq.write_table(_plain(), world.path(where) / "a.parquet")
    with pytest.raises(Exception, match="FileUnlisted"):
        world.spark.range(10).write.mode("append").parquet(world.uri(where))
    world.spark.range(10).write.mode("overwrite").parquet(world.uri(where))
    assert world.spark.read.parquet(world.uri(where)).count() == 10
