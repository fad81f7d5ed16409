"""Tables: Spark and pyarrow read what the other wrote, and commits name exactly what was written."""

from __future__ import annotations

import datetime
from decimal import Decimal

import pytest
from pyspark.sql import Row

from confide.spark.engine import SPARK, installed

pytestmark = pytest.mark.spark


def people(world, start=0, end=100):
    return world.spark.createDataFrame(
        [(i, f"Zoë {i}", f"{i:09}") for i in range(start, end)], "id int, name string, ssn string"
    )


@pytest.mark.parametrize("kind", ["tables", "uniform"])
def test_spark_writes_python_reads_spark_reads(world, kind):
    where = world.fresh(kind)
    people(world).write.parquet(world.uri(where))
    rows = [row.asDict() for row in people(world).collect()]
    assert sorted(world.python(where).to_pylist(), key=lambda row: row["id"]) == rows
    assert world.spark.read.parquet(world.uri(where)).orderBy("id").collect() == [Row(**row) for row in rows]


@pytest.mark.parametrize("kind", ["tables", "uniform"])
def test_a_column_that_nobody_named_is_encrypted(world, kind):
    jvm = world.spark._jvm
    parquet = jvm.org.apache.parquet
    schema = parquet.schema.MessageTypeParser.parseMessageType(
        "message rows { required int64 id; required binary ssn; }"
    )
    made = jvm.confide.ParquetCrypto().getFileEncryptionProperties(
        jvm.org.apache.hadoop.conf.Configuration(),
        jvm.org.apache.hadoop.fs.Path(world.uri(world.fresh(kind))),
        parquet.hadoop.api.WriteSupport.WriteContext(schema, jvm.java.util.HashMap()),
    )
    leaf = parquet.hadoop.metadata.ColumnPath.fromDotString
    columns = {name: made.getColumnProperties(leaf(name)) for name in ("id", "ssn", "unnamed")}
    own_key = kind == "tables"
    assert columns["id"].isEncrypted()
    assert columns["ssn"].isEncrypted()
    assert columns["ssn"].isEncryptedWithFooterKey() is not own_key
    # Spark 3.5's Parquet has no word for it where a column has a key of its own: there every leaf is named.
    assert columns["unnamed"].isEncrypted() or (own_key and installed() is not SPARK)


def test_a_relative_path_is_under_the_data_root(world):
    assert world.spark.read.parquet("read/uniform").count() == 1000


@pytest.mark.parametrize("where", ["read/uniform", "read/columns"])
def test_python_writes_spark_reads(world, where):
    frame = world.spark.read.parquet(world.uri(where))
    assert frame.count() == 1000
    assert frame.where("id = 7").collect() == [Row(id=7, name="Zoë 7", ssn="000000007")]


def test_python_writes_no_rows_spark_reads(world):
    frame = world.spark.read.parquet(world.uri("read/empty"))
    assert frame.columns == ["id", "name", "ssn"]
    assert frame.count() == 0


def test_a_column_whose_key_is_not_released_is_refused_and_the_others_are_not(world):
    frame = world.spark.read.parquet(world.uri("read/refused"))
    assert frame.select("id", "name").count() == 1000
    assert len(frame.select("id", "name").collect()) == 1000
    with pytest.raises(Exception, match=r"UnknownKey|access denied|KeyAccessDenied|no access"):
        frame.select("ssn").collect()


def test_no_value_or_name_in_clear(world):
    where = world.fresh("tables")
    people(world).write.parquet(world.uri(where))
    for file in world.path(where).rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            for text in ("Zoë 1", "000000007", "ssn", "spark_schema", "parquet.avro", "name"):
                assert text.encode() not in data


def test_nested_and_typed_columns(world):
    where = world.fresh("tables")
    rows = [
        Row(
            id=i,
            ssn=Row(a=f"x{i}", b=[Row(c=i), Row(c=-i)]),
            price=Decimal("12345678901234567890.12"),
            when=datetime.datetime(2026, 1, 1, 12, i),
            tags={"k": [i, None]},
        )
        for i in range(10)
    ]
    schema = (
        "id int, ssn struct<a:string,b:array<struct<c:int>>>, price decimal(30,2), when timestamp, "
        "tags map<string,array<int>>"
    )
    frame = world.spark.createDataFrame(rows, schema)
    frame.write.parquet(world.uri(where))
    assert world.spark.read.parquet(world.uri(where)).orderBy("id").collect() == rows
    table = world.python(where)
    assert sorted(row["ssn"]["a"] for row in table.to_pylist()) == sorted(f"x{i}" for i in range(10))


def test_odd_column_names(world):
    where = world.fresh("tables")
    names = ["a:b", "c,d", "e;f", "größe", "SSN", "with space", "dot.ted"]
    frame = world.spark.createDataFrame([tuple(range(len(names)))], names)
    frame.write.parquet(world.uri(where))
    assert world.spark.read.parquet(world.uri(where)).collect()[0].asDict() == dict(
        zip(names, range(len(names)), strict=True)
    )
    assert world.python(where).column_names == names


def test_no_rows(world):
    where = world.fresh("tables")
    people(world, 0, 0).write.parquet(world.uri(where))
    assert world.spark.read.parquet(world.uri(where)).columns == ["id", "name", "ssn"]
    assert world.python(where).num_rows == 0


def test_five_thousand_columns(world):
    where = world.fresh("uniform")
    columns = ", ".join(f"id + {i} as c{i}" for i in range(5000))
    world.spark.range(3).selectExpr(*columns.split(", ")).coalesce(1).write.parquet(world.uri(where))
    assert world.python(where).num_columns == 5000
    frame = world.spark.read.parquet(world.uri(where))
    assert frame.selectExpr("sum(c4999)").collect()[0][0] == 3 * 4999 + 3


def test_append_and_overwrite(world):
    where = world.fresh("tables")
    people(world, 0, 10).write.parquet(world.uri(where))
    first = {file.path for file in world.listing(where).files}
    people(world, 10, 30).write.mode("append").parquet(world.uri(where))
    assert first < {file.path for file in world.listing(where).files}
    assert world.listing(where).serial == 2
    assert world.spark.read.parquet(world.uri(where)).count() == 30
    table = world.listing(where).table
    people(world, 0, 5).write.mode("overwrite").parquet(world.uri(where))
    assert world.listing(where).table == table
    assert world.spark.read.parquet(world.uri(where)).count() == 5
    assert not any((world.path(where) / path).exists() for path in first)
    with pytest.raises(Exception, match="PATH_ALREADY_EXISTS"):
        people(world).write.parquet(world.uri(where))
    assert world.python(where).num_rows == 5


def test_overwrite_of_a_table_that_python_wrote(world):
    where = "write/python"
    before = world.listing(where)
    assert world.spark.read.parquet(world.uri(where)).count() == 1000
    more = people(world, 0, 5).selectExpr("cast(id as bigint) as id", "name", "ssn")
    more.write.mode("append").parquet(world.uri(where))
    assert world.python(where).num_rows == 1005
    people(world, 0, 5).write.mode("overwrite").parquet(world.uri(where))
    assert world.spark.read.parquet(world.uri(where)).count() == 5
    assert world.python(where).num_rows == 5
    assert world.listing(where).table == before.table
    assert not any((world.path(where) / file.path).exists() for file in before.files)


def test_subfolders_of_a_location_are_tables_of_their_own(world):
    where = world.fresh("tables")
    people(world, 0, 5).write.parquet(world.uri(where) + "/a")
    people(world, 0, 7).write.parquet(world.uri(where) + "/b")
    people(world, 0, 3).write.mode("overwrite").parquet(world.uri(where) + "/a")
    assert world.spark.read.parquet(world.uri(where) + "/a").count() == 3
    assert world.spark.read.parquet(world.uri(where) + "/b").count() == 7
    assert {file.path[0] for file in world.listing(where).files} == {"a", "b"}


def test_glob(world):
    where = world.fresh("tables")
    people(world, 0, 5).write.parquet(world.uri(where))
    assert world.spark.read.parquet(world.uri(where) + "/part-*").count() == 5


def test_save_as_table_and_sql_with_a_location(world):
    where = world.fresh("tables")
    world.spark.sql(
        f"create table located using parquet location '{world.uri(where)}' as select 1 as id, 'x' as ssn"
    )
    assert world.spark.sql("select * from located").count() == 1
    world.spark.sql("insert into located values (2, 'y')")
    assert world.spark.sql("select * from located").count() == 2
    world.spark.sql("insert overwrite located values (3, 'z')")
    assert [row.id for row in world.spark.sql("select * from located").collect()] == [3]


def test_a_failed_job_leaves_the_old_content(world):
    where = world.fresh("tables")
    people(world, 0, 5).write.parquet(world.uri(where))
    with pytest.raises(Exception, match="too many"):
        people(world, 0, 5).selectExpr("id", "if(id = 3, raise_error('too many'), id) as bad").write.mode(
            "overwrite"
        ).parquet(world.uri(where))
    assert world.listing(where).serial == 1
    assert world.spark.read.parquet(world.uri(where)).count() == 5


def test_a_refused_commit_leaves_the_old_content(world):
    from confide.errors import Conflict

    where = world.fresh("tables")
    people(world, 0, 5).write.parquet(world.uri(where))
    world.agent.fail_next = Conflict("someone else")
    with pytest.raises(Exception, match="Conflict: someone else"):
        people(world, 0, 9).write.mode("overwrite").parquet(world.uri(where))
    assert world.spark.read.parquet(world.uri(where)).count() == 5


def test_the_sealed_copy_of_the_listing(world):
    from confide.data.sealed_reader import SealedReader

    where = world.fresh("tables")
    people(world, 0, 5).write.parquet(world.uri(where))
    with (
        (world.path(where) / "_confide.listing").open("rb") as file,
        SealedReader(file, world.keyset) as reader,
    ):
        assert b'"payload"' in reader.readall()
        assert reader.header.folder == world.listing(where).table
