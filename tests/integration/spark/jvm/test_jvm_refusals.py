"""What a program may not do through the guard."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from confide.jvm.explanation import explain
from confide.spark.engine import SPARK, installed

XML = ["xml"] if installed() is SPARK else []  # its data source is new in Spark 4

pytestmark = pytest.mark.spark


def numbers(world):
    return world.spark.range(10).selectExpr("id", "cast(id as string) as name")


def files_of(path):
    return [file for file in path.rglob("*") if file.is_file() and file.stat().st_size]


@pytest.mark.parametrize("path", ["/work-not/x", "/etc/x", "/root/x", "/var/tmp/x"])
def test_elsewhere(world, path):
    with pytest.raises(Exception, match="NoGrant"):
        numbers(world).write.parquet(f"file://{path}")
    with pytest.raises(Exception, match="NoGrant"):
        world.spark.read.text(f"file://{path}").collect()


@pytest.mark.parametrize("path", ["other", "uniform/1x", "uniform/0/../../other", "read", "uniform/.."])
def test_beside_every_grant(world, path):
    with pytest.raises(Exception, match="NoGrant"):
        numbers(world).write.mode("append").parquet(world.uri(path))


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/self/environ", "/work/../etc/passwd"])
def test_reading_the_host(world, path):
    with pytest.raises(Exception, match="NoGrant"):
        world.spark.read.text(path).collect()
    with pytest.raises(Exception, match="NoGrant"):
        world.spark.sparkContext.textFile(path).collect()


def test_parquet_that_another_file_system_would_open(world):
    jvm = world.spark._jvm
    path = jvm.org.apache.hadoop.fs.Path(world.uri("read/uniform"))
    conf = jvm.org.apache.hadoop.conf.Configuration()
    assert jvm.confide.ParquetCrypto().getFileDecryptionProperties(conf, path) is not None
    conf.set("fs.file.impl", "org.apache.hadoop.fs.LocalFileSystem")
    conf.set("fs.file.impl.disable.cache", "true")
    with pytest.raises(Exception, match="not a guarded path"):
        jvm.confide.ParquetCrypto().getFileDecryptionProperties(conf, path)


@pytest.mark.parametrize("path", ["/opt/confide/x", "/app/x"])
def test_writing_the_program(world, path):
    with pytest.raises(Exception, match="NoGrant"):
        numbers(world).write.parquet(path)


def test_writing_where_reading_is_granted(world):
    for mode in ("append", "overwrite"):
        with pytest.raises(Exception, match="NoGrant"):
            numbers(world).write.mode(mode).parquet(world.uri("read/uniform"))
    assert world.spark.read.parquet(world.uri("read/uniform")).count() == 1000


@pytest.mark.parametrize("kind", ["csv", "json", "text", "orc", *XML])
def test_another_format_in_a_table(world, kind):
    where = world.fresh("uniform")
    frame = numbers(world).select("name")
    writer = frame.write.format(kind)
    with pytest.raises(Exception, match="NotEncrypted"):
        (writer.option("rowTag", "r") if kind == "xml" else writer).save(world.uri(where))
    assert files_of(world.path(where)) == []


IS_A_TABLE = r"NoGrant: read/uniform is a table: read it with spark\.read\.parquet"


@pytest.mark.parametrize("kind", ["csv", "text", "json", "binaryFile", *XML])
def test_reading_a_table_as_another_format(world, kind):
    reader = world.spark.read.format(kind).option("rowTag", "r")
    with pytest.raises(Exception, match=IS_A_TABLE):
        reader.load("read/uniform").collect()
    with pytest.raises(Exception, match=IS_A_TABLE):
        reader.load(str(next(world.path("read/uniform").glob("*.parquet")))).collect()


def test_reading_a_table_as_text_with_a_schema_or_in_small_splits(world):
    with pytest.raises(Exception, match=IS_A_TABLE):
        world.spark.read.schema("a string").option("mode", "DROPMALFORMED").csv("read/uniform").collect()
    with pytest.raises(Exception, match=IS_A_TABLE):
        world.spark.sparkContext.textFile("read/uniform", 50).collect()


def test_reading_only_a_later_part_of_a_table_as_text(world):
    context = world.spark.sparkContext
    splits = context.textFile("read/uniform", 50)
    with pytest.raises(Exception, match=IS_A_TABLE):
        context.runJob(splits, list, [splits.getNumPartitions() // 2])


def test_reading_a_table_as_orc(world):
    with pytest.raises(Exception, match=IS_A_TABLE):
        world.spark.read.orc("read/uniform").collect()


def test_reading_a_table_as_bytes(world):
    with pytest.raises(Exception, match=IS_A_TABLE):
        world.spark.sparkContext.binaryFiles("read/uniform").map(lambda pair: len(pair[1])).collect()


def test_reading_files_as_a_table(world):
    where = world.fresh("files")
    numbers(world).write.csv(world.uri(where))
    with pytest.raises(Exception, match="is not a Parquet file") as refusal:
        world.spark.read.parquet(where).collect()
    said = explain(refusal.value)
    assert said is not None
    assert said.startswith(f"NoGrant: file:{world.uri(where)}/part-")
    assert said.endswith("is not Parquet, and lies in no location that is granted as a table")


@pytest.mark.parametrize("form", ["delta", "iceberg", "hudi"])
def test_a_table_format_is_refused_with_what_to_use_instead(world, form):
    where = world.fresh("uniform")
    for attempt in (
        lambda: numbers(world).write.format(form).save(where),
        lambda: world.spark.read.format(form).load("read/uniform"),
        lambda: world.spark.sql(f"SELECT * FROM {form}.`{world.path('read/uniform')}`"),
        lambda: world.spark.sql(f"CREATE TABLE some USING {form} LOCATION '{world.path(where)}'"),
        lambda: world.spark.readStream.format(form).load("read/uniform"),
    ):
        with pytest.raises(Exception) as refusal:
            attempt()
        assert (explain(refusal.value) or "").startswith(f"LaunchRefused: {form} is refused: "), refusal.value
    assert files_of(world.path(where)) == []


def test_parquet_in_files_is_read_as_parquet(world):
    where = world.fresh("files")
    numbers(world).write.parquet(world.uri(where))
    assert world.spark.read.parquet(where).count() == 10


def test_a_refusal_names_the_location_and_the_grants(world):
    with pytest.raises(
        Exception, match=r"no grant for data/wards; granted: write tables/0, write uniform/0, "
    ):
        world.spark.read.parquet("data/wards").collect()
    with pytest.raises(Exception, match=r"no grant for file:/etc/x; granted: .* and \d+ more"):
        world.spark.read.parquet("/etc/x").collect()


def test_rdd_files_in_a_table(world):
    where = world.fresh("uniform")
    with pytest.raises(Exception, match="NotEncrypted"):
        world.spark.sparkContext.parallelize(["a"]).saveAsTextFile(world.uri(where))
    assert files_of(world.path(where)) == []


def test_plain_parquet_by_another_crypto_factory(world):
    where = world.fresh("uniform")
    name = "org.apache.parquet.crypto.keytools.PropertiesDrivenCryptoFactory"
    with pytest.raises(Exception, match="NotEncrypted"):
        numbers(world).write.option("parquet.crypto.factory.class", name).parquet(world.uri(where))
    assert files_of(world.path(where)) == []


@pytest.mark.parametrize("option", ["parquet.encryption.plaintext.footer", "parquet.encryption.uniform.key"])
def test_encryption_options_change_nothing(world, option):
    where = world.fresh("uniform")
    numbers(world).write.option(option, "true").parquet(world.uri(where))
    assert world.data_file(where).read_bytes()[-4:] == b"PARE"
    assert world.python(where).num_rows == 10


@pytest.mark.parametrize("kind", ["uniform", "files"])
def test_partition_folders(world, kind):
    where = world.fresh(kind)
    writer = numbers(world).write.partitionBy("name")
    with pytest.raises(Exception, match="partition folders would hold values in clear"):
        writer.parquet(world.uri(where)) if kind == "uniform" else writer.csv(world.uri(where))


def test_dynamic_partition_overwrite(world):
    where = world.fresh("uniform")
    writer = numbers(world).write.partitionBy("name").mode("overwrite")
    with pytest.raises(Exception, match=r"overwriting single partitions is not supported|partition folders"):
        writer.option("partitionOverwriteMode", "dynamic").parquet(world.uri(where))


def test_streaming_sink_into_a_table(world):
    where = world.fresh("uniform")
    stream = world.spark.readStream.format("rate").load().writeStream.format("parquet")
    query = stream.option("checkpointLocation", str(world.agent.scratch / "ck")).start(world.uri(where))
    with pytest.raises(Exception, match=r"NoGrant|NotEncrypted"):
        query.processAllAvailable()
    for query in world.spark.streams.active:
        query.stop()


def test_renaming_from_scratch_into_a_location(world):
    (world.agent.scratch / "plain").write_text("secret")
    jvm, where = world.spark._jvm, world.fresh("files")
    path = jvm.org.apache.hadoop.fs.Path
    fs = jvm.org.apache.hadoop.fs.FileSystem.get(world.spark._jsc.hadoopConfiguration())
    with pytest.raises(Exception, match="NoGrant"):
        fs.rename(path(str(world.agent.scratch / "plain")), path(world.uri(where) + "/x"))


def test_the_second_hadoop_interface_is_guarded(world):
    jvm = world.spark._jvm
    context = jvm.org.apache.hadoop.fs.FileContext.getFileContext(world.spark._jsc.hadoopConfiguration())
    with pytest.raises(Exception, match="NoGrant"):
        context.open(jvm.org.apache.hadoop.fs.Path("/etc/passwd"))


def test_the_sealed_scheme_is_for_sealed_files(world):
    for path in ("read/uniform", "other", "uniform/59"):
        with pytest.raises(Exception, match="NoGrant"):
            world.spark.read.text(f"sealed://{world.uri(path)}").collect()
    with pytest.raises(Exception, match="NoGrant"):
        numbers(world).write.csv(f"sealed://{world.agent.scratch}/x")


def test_scratch_is_plain_and_private(world):
    where = str(world.agent.scratch / "mine")
    numbers(world).write.parquet(where)
    assert world.spark.read.parquet(where).count() == 10
    pq.write_table(pa.table({"x": [1]}), world.agent.scratch / "p.parquet")
    assert world.spark.read.parquet(str(world.agent.scratch / "p.parquet")).count() == 1


def test_a_link_among_the_files(world):
    (world.agent.scratch / "private").mkdir()
    (world.agent.scratch / "private" / "x.parquet").write_text("plain and private")
    where = world.fresh("uniform")
    world.path(where).mkdir(parents=True)
    (world.path(where) / "_temporary").symlink_to(world.agent.scratch / "private")
    with pytest.raises(Exception, match="FileChanged: a symbolic link"):
        numbers(world).write.mode("append").parquet(world.uri(where))
    assert (world.agent.scratch / "private" / "x.parquet").read_text() == "plain and private"


def test_no_key_without_checked_settings(world):
    frame = world.spark.read.parquet(world.uri("read/uniform"))
    world.enforced(False)
    try:
        with pytest.raises(Exception, match="LaunchRefused: keys are used only under"):
            frame.collect()
        with pytest.raises(Exception, match="LaunchRefused: keys are used only under"):
            numbers(world).write.parquet(world.uri(world.fresh("uniform")))
        with pytest.raises(Exception, match="LaunchRefused: keys are used only under"):
            numbers(world).write.json(world.uri(world.fresh("files")))
    finally:
        world.enforced(True)
    assert frame.count() == 1000
