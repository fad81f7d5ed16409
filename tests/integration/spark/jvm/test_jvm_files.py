"""Sealed files: any format of Spark's, sealed underneath without its knowing."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest

from confide.data.sealed_reader import SealedReader
from confide.data.sealed_writer import SealedWriter
from confide.keys.names import KeyName

KEY = "clinic/patients"
VECTORS = Path(__file__).parents[3] / "vectors" / "sealed"

pytestmark = pytest.mark.spark


def letters(world, count=1000):
    return world.spark.range(count).selectExpr("cast(id as string) as id", "concat('Zoë-', id) as name")


def opened(path, world):
    with path.open("rb") as file, SealedReader(file, world.keyset) as reader:
        return reader.readall()


@pytest.mark.parametrize("kind", ["csv", "json", "orc", "parquet"])
@pytest.mark.parametrize("scheme", ["", "sealed://"])
def test_round_trip(world, kind, scheme):
    where = world.fresh("files")
    uri = scheme + world.uri(where)
    letters(world).write.format(kind).save(uri)
    read = world.spark.read.format(kind).schema("id string, name string").load(uri)
    assert sorted(read.collect()) == sorted(letters(world).collect())
    for file in world.path(where).rglob("part-*"):
        assert file.read_bytes()[:8] == b"CONFIDE\x01"
        assert "Zoë-".encode() not in file.read_bytes()
    files = world.listing(where).files
    assert files
    assert sorted(f.path for f in files) == sorted(p.name for p in world.path(where).glob("part-*"))
    for listed in files:
        assert (world.path(where) / listed.path).stat().st_size == listed.size


def test_python_opens_what_spark_sealed(world):
    where = world.fresh("files")
    letters(world, 5).select("name").coalesce(1).write.text(world.uri(where))
    assert opened(world.data_file(where), world).decode() == "".join(f"Zoë-{i}\n" for i in range(5))


def test_compressed_text(world):
    where = world.fresh("files")
    letters(world).write.option("compression", "gzip").csv(world.uri(where))
    assert world.spark.read.csv(world.uri(where)).count() == 1000


def test_append_and_overwrite(world):
    where = world.fresh("files")
    for mode, count in (("append", 10), ("append", 20), ("overwrite", 10)):
        letters(world, 10).write.mode(mode).json(world.uri(where))
        assert world.spark.read.json(world.uri(where)).count() == count
    assert world.listing(where).serial == 3


def test_a_large_text_is_read_in_several_partitions(world):
    where = world.fresh("files")
    count = 400_000
    world.spark.range(count).selectExpr("format_string('%020d', id) as line").coalesce(1).write.text(
        world.uri(where)
    )
    size = 21 * count
    assert len(world.listing(where).files) == 1
    rdd = world.spark.sparkContext.textFile(world.uri(where), 8)
    assert rdd.getNumPartitions() >= 8
    assert rdd.map(int).sum() == count * (count - 1) // 2
    world.spark.conf.set("spark.sql.files.maxPartitionBytes", "1m")
    frame = world.spark.read.text(world.uri(where))
    assert frame.rdd.getNumPartitions() >= size // (1 << 20)
    assert frame.selectExpr("sum(cast(value as bigint))").collect()[0][0] == count * (count - 1) // 2
    world.spark.conf.unset("spark.sql.files.maxPartitionBytes")


def test_rdd_text_has_no_commit_and_is_read_back(world):
    where = world.fresh("files")
    world.spark.sparkContext.parallelize(["a", "b", "c"], 2).saveAsTextFile(world.uri(where))
    assert where not in world.agent.listings
    assert sorted(world.spark.sparkContext.textFile(world.uri(where)).collect()) == ["a", "b", "c"]
    assert all(f.read_bytes()[:8] == b"CONFIDE\x01" for f in world.path(where).glob("part-*"))


def test_checkpoint(world):
    where = world.fresh("files")
    world.spark.sparkContext.setCheckpointDir(f"sealed://{world.uri(where)}")
    frame = letters(world).repartition(3).checkpoint()
    assert frame.count() == 1000
    files = [f for f in world.path(where).rglob("part-*") if f.is_file()]
    assert files
    for file in files:
        assert file.read_bytes()[:8] == b"CONFIDE\x01"
        assert "Zoë-".encode() not in file.read_bytes()


def test_streaming_with_state(world):
    where, source = world.fresh("files"), world.fresh("files")
    letters(world, 50).write.json(world.uri(source))
    stream = world.spark.readStream.schema("id string, name string").json(world.uri(source))
    query = (
        stream.groupBy("name")
        .count()
        .writeStream.outputMode("complete")
        .format("memory")
        .queryName("counts")
        .option("checkpointLocation", f"sealed://{world.uri(where)}")
        .start()
    )
    query.processAllAvailable()
    query.stop()
    assert world.spark.sql("select * from counts").count() == 50
    kept = [f for f in world.path(where).rglob("*") if f.is_file()]
    assert kept
    assert all(f.read_bytes()[:8] == b"CONFIDE\x01" for f in kept)


def test_event_log(world):
    where = world.fresh("files")
    jvm = world.spark._jvm
    conf = jvm.org.apache.spark.SparkConf(False)
    conf.set("spark.eventLog.rolling.enabled", "false")
    world.path(where).mkdir(parents=True)
    jvm.org.apache.hadoop.fs.FileSystem.get(
        jvm.java.net.URI("sealed:///"), world.spark._jsc.hadoopConfiguration()
    ).mkdirs(jvm.org.apache.hadoop.fs.Path(f"sealed://{world.uri(where)}/logs"))
    writer = jvm.org.apache.spark.deploy.history.SingleEventLogFileWriter(
        "app-1",
        jvm.scala.Option.empty(),
        jvm.java.net.URI(f"sealed://{world.uri(where)}/logs"),
        conf,
        world.spark._jsc.hadoopConfiguration(),
    )
    writer.start()
    writer.writeEvent('{"Event":"canary-event"}', True)
    writer.stop()
    (file,) = [f for f in world.path(where).rglob("*") if f.is_file()]
    assert file.name == "app-1" or file.name.startswith("app-1")
    assert file.read_bytes()[:8] == b"CONFIDE\x01"
    assert b"canary" not in file.read_bytes()


def seal(world, path, data, folder):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file, SealedWriter(file, world.keyset, KeyName.parse(KEY), folder) as writer:
        writer.write(data)


def refused(world, where, match):
    with pytest.raises(Exception, match=match):
        world.spark.read.text(world.uri(where)).collect()


@pytest.fixture
def folder(world):
    where = world.fresh("files")
    letters(world, 100).select("name").repartition(2).write.text(world.uri(where))
    assert len(world.listing(where).files) == 2
    return where


def test_flip(world, folder):
    file = world.data_file(folder)
    data = bytearray(file.read_bytes())
    data[-40] ^= 1
    file.write_bytes(data)
    refused(world, folder, "FileChanged")


def test_flip_in_the_header(world, folder):
    file = world.data_file(folder)
    data = bytearray(file.read_bytes())
    data[30] ^= 1
    file.write_bytes(data)
    refused(world, folder, "FileChanged|InvalidFormat")


def test_truncated(world, folder):
    file = world.data_file(folder)
    file.write_bytes(file.read_bytes()[:-1])
    refused(world, folder, "FileChanged")


def test_swapped(world, folder):
    a, b = world.data_file(folder, 0), world.data_file(folder, 1)
    one, two = a.read_bytes(), b.read_bytes()
    a.write_bytes(two)
    b.write_bytes(one)
    refused(world, folder, "FileChanged")


def test_missing(world, folder):
    world.data_file(folder).unlink()
    refused(world, folder, "FileMissing")


def test_unlisted(world, folder):
    shutil.copy(world.data_file(folder), world.path(folder) / "part-9")
    refused(world, folder, "FileUnlisted")


def test_plain(world, folder):
    world.data_file(folder).write_text("plain\n")
    refused(world, folder, "NotEncrypted")


def test_sealed_for_another_folder_where_nothing_is_listed(world):
    where = world.fresh("files")
    seal(world, world.path(where) / "a.txt", b"a\n", "00" * 16)
    refused(world, where, "FileChanged: sealed for another folder")


def test_swap_of_uncommitted_files_of_this_run(world):
    where = world.fresh("files")
    world.spark.sparkContext.parallelize(["a", "b"], 2).saveAsTextFile(world.uri(where))
    one, two = world.path(where) / "part-00000", world.path(where) / "part-00001"
    shutil.copy(one, two)
    refused(world, where, "FileChanged")


def test_loss_of_an_uncommitted_file_of_this_run(world):
    where = world.fresh("files")
    world.spark.sparkContext.parallelize(["a", "b"], 2).saveAsTextFile(world.uri(where))
    (world.path(where) / "part-00000").unlink()
    refused(world, where, "FileMissing")


def _cases():
    document = json.loads((VECTORS / "sealed.json").read_text())
    return document["cases"]


def _bytes(case):
    if "sealed" in case:
        return base64.b64decode(case["sealed"])
    if "sealed_bin" in case:
        return (VECTORS / case["sealed_bin"]).read_bytes()
    (base,) = [other for other in _cases() if other["name"] == case["base"]]
    data = _bytes(base)
    if "slices" in case:
        data = b"".join(data[start:end] for start, end in case["slices"])
    changed = bytearray(data)
    for offset in case.get("flip", []):
        changed[offset] ^= 1
    return bytes(changed) + base64.b64decode(case.get("append", ""))


def _plain(case):
    if "plaintext_repeat" in case:
        pattern, size = (
            base64.b64decode(case["plaintext_repeat"]["pattern"]),
            case["plaintext_repeat"]["bytes"],
        )
        return (pattern * (size // len(pattern) + 1))[:size]
    return base64.b64decode(case["plaintext"])


KINDS = {"Tampered": "(Tampered|FileChanged|FileMissing|FileUnlisted):"}


@pytest.mark.parametrize(
    "case", [c for c in _cases() if "expected_binding" not in c], ids=lambda c: c["name"]
)
def test_vectors(world, case):
    default = "00112233445566778899aabbccddeeff"
    folder = world.path(f"vectors/{case.get('expected_folder', default)}")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{case['name'].replace(' ', '-').replace(chr(39), '')}.bin"
    file.write_bytes(_bytes(case))
    jvm = world.spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(str(file))
    fs = path.getFileSystem(world.spark._jsc.hadoopConfiguration())

    def read():
        stream = fs.open(path)
        try:
            return bytes(jvm.org.apache.commons.io.IOUtils.toByteArray(stream))
        finally:
            stream.close()

    if case["expect"] == "ok":
        assert read() == _plain(case)
        assert fs.getFileStatus(path).getLen() == len(_plain(case))
    else:
        with pytest.raises(Exception, match=KINDS.get(case["expect"], case["expect"] + ":")):
            read()
    file.unlink()


@pytest.mark.parametrize("harm", ["cut", "flipped"])
def test_the_last_segment_is_verified_when_a_file_is_opened(world, harm):
    folder = "00112233445566778899aabbccddeeff"
    file = world.path(f"vectors/{folder}/long.bin")
    seal(world, file, bytes(3 * 2**20), folder)
    data = file.read_bytes()
    body = 10 + int.from_bytes(data[8:10], "big")
    file.write_bytes(data[: body + 2 * 2**20] if harm == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    path = world.spark._jvm.org.apache.hadoop.fs.Path(str(file))
    fs = path.getFileSystem(world.spark._jsc.hadoopConfiguration())
    with pytest.raises(Exception, match="FileChanged: does not authenticate"):
        fs.open(path)
    file.write_bytes(data)
    stream = fs.open(path)
    assert stream.read() == 0
    stream.close()
    file.unlink()


def test_relative_paths_are_of_the_data_root_not_of_the_jvms_folder(world):
    """The guard's storage has a working directory of its own; no call may fall through to it."""
    jvm = world.spark.sparkContext._jvm
    where = world.fresh("files")
    path = jvm.org.apache.hadoop.fs.Path(f"{where}/a/b")
    system = path.getFileSystem(world.spark.sparkContext._jsc.hadoopConfiguration())
    assert system.mkdirs(path)
    assert (world.path(where) / "a" / "b").is_dir()
    assert system.getFileStatus(path).isDirectory()
    assert system.delete(path, True)
    assert not (world.path(where) / "a" / "b").exists()
