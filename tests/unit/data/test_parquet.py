import datetime
import decimal
import gc
import io
import random
import re
import weakref

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from confide.data.listing import Format, Listing
from confide.data.parquet import (
    EncryptedFile,
    FileSizes,
    TableKeys,
    TableReader,
    identifier,
    parse_identifier,
    read_tail,
    write_table,
)
from confide.errors import (
    FileChanged,
    FileMissing,
    InvalidFormat,
    Misuse,
    NotEncrypted,
    RevokedKey,
    Tampered,
    UnknownKey,
)
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName, KeyVersion

PATIENTS, IDENTIFIERS = KeyName("clinic", "patients"), KeyName("clinic", "identifiers")
COLUMNS = {"ssn": IDENTIFIERS, "contact": IDENTIFIERS}
ROWS = 500
TABLE = pa.table(
    {
        "id": pa.array(range(ROWS), pa.int64()),
        "ssn": [f"SECRETSSN-{i:04d}" for i in range(ROWS)],
        "größe": [1.5 + i for i in range(ROWS)],
        "contact": [{"mail": f"m{i}@x", "phones": [f"PHONE{i}", None]} for i in range(ROWS)],
        "amount": pa.array([decimal.Decimal(i) / 100 for i in range(ROWS)], pa.decimal128(38, 4)),
        "born": [datetime.date(1950, 1, 1) + datetime.timedelta(i) for i in range(ROWS)],
        "seen": pa.array([i * 10**6 for i in range(ROWS)], pa.timestamp("us", "UTC")),
        "tags": pa.array([[("k", i)] for i in range(ROWS)], pa.map_(pa.string(), pa.int32())),
        "raw": pa.array([None if i % 3 else b"\x00\xff" for i in range(ROWS)], pa.binary()),
        "名前": pa.array([None] * ROWS, pa.string()),
    }
)


def listing_of(files, table, columns=None) -> Listing:
    names = {name: str(key) for name, key in (columns or {}).items()}
    return Listing(table=table, owner="clinic", location="data/t", format=Format.TABLE, serial=1,
                   key="clinic/patients", columns=names, files=tuple(files))  # fmt: skip


@pytest.fixture
def write(tmp_path, keyset, folder):
    def go(table=TABLE, columns=None, sizes=None, held=None):
        keys = TableKeys(held or keyset, folder, PATIENTS, columns or {})
        files = write_table(table.to_batches(), table.schema, tmp_path, keys, sizes or FileSizes())
        return listing_of(files, folder, columns)

    return go


@pytest.mark.parametrize(
    "columns", [None, COLUMNS, {"ssn": PATIENTS}, {"名前": IDENTIFIERS, "größe": IDENTIFIERS}]
)
def test_round_trip(columns, write, tmp_path, keyset):
    reader = TableReader(tmp_path, write(columns=columns), keyset)
    assert reader.read() == TABLE
    assert reader.schema() == TABLE.schema
    assert reader.read(["größe", "id"]).equals(TABLE.select(["größe", "id"]))


@pytest.mark.parametrize("columns", [None, COLUMNS])
def test_no_rows_but_a_schema(columns, write, tmp_path, keyset):
    listing = write(TABLE.slice(0, 0), columns=columns)
    assert len(listing.files) == 1
    assert TableReader(tmp_path, listing, keyset).read() == TABLE.slice(0, 0)


@pytest.mark.parametrize("columns", [None, COLUMNS])
def test_nothing_in_clear(columns, write, tmp_path):
    plain = io.BytesIO()
    pq.write_table(TABLE, plain, compression="zstd")
    for file in write(columns=columns).files:
        data = (tmp_path / file.path).read_bytes()
        assert data[:4] == data[-4:] == b"PARE"
        for word in (b"SECRETSSN", b"PHONE", b"contact", "größe".encode(), b"phones"):
            assert word not in data
    assert b"contact" in plain.getvalue()


def test_many_files_and_row_groups(write, tmp_path, keyset):
    sizes = FileSizes(row_group_bytes=10_000, row_group_rows=64, file_bytes=40_000, file_row_groups=3)
    listing = write(sizes=sizes)
    assert len(listing.files) >= 3
    reader = TableReader(tmp_path, listing, keyset)
    assert reader.read() == TABLE
    with reader.open(listing.files[0]) as file:
        assert file.rows <= 3 * 64


def test_files_that_differ_in_whether_a_column_may_be_null(tmp_path, keyset, folder):
    """As Spark appends them."""
    listed = []
    keys = TableKeys(keyset, folder, PATIENTS, {})
    for name, nullable in (("a", False), ("b", True)):
        schema = pa.schema([pa.field("id", pa.int64(), nullable)])
        part = pa.table({"id": [1, None] if nullable else [3, 4]}, schema)
        (tmp_path / name).mkdir()
        (file,) = write_table(part.to_batches(), schema, tmp_path / name, keys, FileSizes())
        (tmp_path / name / file.path).rename(tmp_path / f"{name}.parquet")
        listed.append(file.model_copy(update={"path": f"{name}.parquet"}))
    reader = TableReader(tmp_path, listing_of(listed, folder), keyset)
    assert reader.read()["id"].to_pylist() == [3, 4, 1, None]
    assert reader.schema().field("id").nullable
    assert all(batch.schema.equals(reader.schema()) for batch in reader.batches())


@pytest.mark.exhaustive
def test_five_thousand_columns(write, tmp_path, keyset):
    wide = pa.table({f"c{i}": [i, None] for i in range(5000)})
    reader = TableReader(tmp_path, write(wide, {"c7": IDENTIFIERS}), keyset)
    assert reader.read() == wide
    assert reader.read(["c4999"]) == wide.select(["c4999"])


def test_column_keys_separate_columns(write, tmp_path, keyset):
    listing = write(columns=COLUMNS)
    without = Keyset({PATIENTS: keyset.key(PATIENTS)})
    reader = TableReader(tmp_path, listing, without)
    assert reader.read(["id", "名前"]) == TABLE.select(["id", "名前"])
    for columns in (["ssn"], ["id", "contact"], None):
        with pytest.raises(UnknownKey, match="identifiers"):
            reader.read(columns)
    only_columns = Keyset({IDENTIFIERS: keyset.key(IDENTIFIERS)})
    with pytest.raises(UnknownKey, match="patients"):
        TableReader(tmp_path, listing, only_columns).read(["ssn"])


def test_revoked_keys(write, tmp_path, keyset):
    listing = write(columns=COLUMNS)
    gone = NamedKey(IDENTIFIERS, None, {}, frozenset({1}))
    held = Keyset({PATIENTS: keyset.key(PATIENTS), IDENTIFIERS: gone})
    with pytest.raises(RevokedKey):
        TableReader(tmp_path, listing, held).read()
    assert TableReader(tmp_path, listing, held).read(["id"]).num_rows == ROWS
    with pytest.raises(RevokedKey):
        write(columns=COLUMNS, held=held)


def test_other_secret_of_the_same_name(write, tmp_path):
    listing = write()
    other = Keyset({PATIENTS: NamedKey(PATIENTS, 2, {2: b"\x09" * 32})})
    with pytest.raises(Tampered):
        TableReader(tmp_path, listing, other).read()


def test_older_version_still_reads(write, tmp_path, keyset):
    old = Keyset({PATIENTS: NamedKey(PATIENTS, 1, {1: b"\x01" * 32})})
    listing = write(held=old)
    assert TableReader(tmp_path, listing, keyset).read() == TABLE
    with pytest.raises(UnknownKey):
        TableReader(tmp_path, write(), old).read()


def test_file_of_another_table(write, tmp_path, keyset):
    file = write().files[0]
    with pytest.raises(FileChanged, match="another table"):
        EncryptedFile((tmp_path / file.path).open("rb"), keyset, "11" * 16)


def test_another_file_of_the_same_table(write, tmp_path, keyset):
    first, second = write(), write()
    (tmp_path / second.files[0].path).replace(tmp_path / first.files[0].path)
    with pytest.raises(FileChanged):
        TableReader(tmp_path, first, keyset).read()


def test_plain_file_in_its_place(write, tmp_path, keyset):
    listing = write()
    path = tmp_path / listing.files[0].path
    pq.write_table(TABLE, path)
    with pytest.raises(NotEncrypted, match=re.escape(path.name)):
        TableReader(tmp_path, listing, keyset).read()
    for content in (b"", b"id\n1\n", b"PAR", b"x" * 100):
        path.write_bytes(content)
        with pytest.raises(NotEncrypted):
            TableReader(tmp_path, listing, keyset).read()


def test_missing_file(write, tmp_path, keyset):
    listing = write()
    (tmp_path / listing.files[0].path).unlink()
    with pytest.raises(FileMissing, match=listing.files[0].path):
        TableReader(tmp_path, listing, keyset).read()


def test_cut_and_extended_files(write, tmp_path, keyset):
    listing = write()
    path = tmp_path / listing.files[0].path
    data = path.read_bytes()
    tail = read_tail(io.BytesIO(data))
    assert tail.size == len(data)
    for changed in (data[:-1], data[:-8], data[:1000], data[4:], data + b"\0", data + data[tail.start :],
                    data[:100] + data[200:], data[tail.start :]):  # fmt: skip
        path.write_bytes(changed)
        with pytest.raises(Tampered):
            TableReader(tmp_path, listing, keyset).read()


@pytest.mark.parametrize("columns", [None, COLUMNS])
def test_any_flip_of_what_is_read_is_refused(columns, write, tmp_path, keyset):
    listing = write(columns=columns)
    path = tmp_path / listing.files[0].path
    data, rng = path.read_bytes(), random.Random(4)
    tail = read_tail(io.BytesIO(data)).start
    for offset in [*(rng.randrange(4, tail) for _ in range(40)), *range(tail, tail + 400, 19)]:
        changed = bytearray(data)
        changed[offset] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        with pytest.raises(Tampered):
            TableReader(tmp_path, listing, keyset).read()


def test_flip_without_a_listing(write, tmp_path, keyset, folder):
    path = tmp_path / write().files[0].path
    data = path.read_bytes()
    start = read_tail(io.BytesIO(data)).start
    for offset in range(start, len(data), 211):
        changed = bytearray(data)
        changed[offset] ^= 4
        with pytest.raises((Tampered, NotEncrypted, InvalidFormat, UnknownKey)):
            EncryptedFile(io.BytesIO(changed), keyset, folder)


def test_storage_that_changes_after_the_tail_was_verified(write, tmp_path, keyset, folder):
    first, second = write(), write()
    data, other = ((tmp_path / x.files[0].path).read_bytes() for x in (first, second))
    file = io.BytesIO(data)
    opened = EncryptedFile(file, keyset, folder, first.files[0])
    file.seek(0)
    file.truncate()
    file.write(other)
    with pytest.raises(Tampered):
        list(opened.batches())


def test_a_reader_that_is_dropped_leaves_nothing(write, tmp_path, keyset, folder):
    """Arrow keeps what it was given, and a reader keeps the row group that it read last."""
    (listed,) = write().files
    with EncryptedFile((tmp_path / listed.path).open("rb"), keyset, folder, listed) as opened:
        assert sum(batch.num_rows for batch in opened.batches()) == ROWS
    reader = weakref.ref(opened)
    del opened
    gc.collect()
    assert reader() is None


@pytest.mark.parametrize("name", ["a,b", "a;b", "a:b", " a", "a ", ""])
def test_names_that_column_keys_cannot_carry(name, write, tmp_path, keyset):
    table = pa.table({name: [1], "ssn": ["x"]})
    with pytest.raises(Misuse):
        write(table, {"ssn": IDENTIFIERS})
    assert TableReader(tmp_path, write(table), keyset).read() == table


def test_names_that_look_like_fields(write, tmp_path, keyset):
    with pytest.raises(Misuse, match="cannot be told"):
        write(pa.table({"a": [{"b": 1}], "a.b": [1]}), {"a": IDENTIFIERS})
    table = pa.table({"price.usd": [1], "ssn": ["x"], "price": [2]}).select([0, 1])
    assert TableReader(tmp_path, write(table, {"price.usd": IDENTIFIERS}), keyset).read() == table


def test_misuse(write, tmp_path, keyset, folder):
    with pytest.raises(Misuse, match="nothing_such"):
        write(columns={"nothing_such": IDENTIFIERS})
    with pytest.raises(Misuse, match="mail"):
        write(columns={"contact.mail": IDENTIFIERS})
    with pytest.raises(Misuse, match="same name"):
        write(pa.Table.from_arrays([[1], [2]], ["a", "a"]))
    with pytest.raises(UnknownKey):
        write(columns={"ssn": KeyName("clinic", "nothing")})
    listing = write()
    with pytest.raises(Misuse, match="nope"):
        TableReader(tmp_path, listing, keyset).read(["nope"])
    with pytest.raises(Misuse):
        TableReader(tmp_path, listing_of([], folder), keyset)


def test_identifiers():
    version = KeyVersion(PATIENTS, 3)
    text = identifier(version, "ab" * 16)
    assert text == "clinic/patients/3@" + "ab" * 16
    assert parse_identifier(text) == (version, "ab" * 16)
    for bad in ("", "clinic/patients@" + "ab" * 16, "clinic/patients:3@" + "ab" * 16, text[:-1],
                text.upper(), "a/b/0@" + "ab" * 16, "x" * 10_000,
                "clinic/patients/3", "/patients/3@" + "ab" * 16, text + "\n"):  # fmt: skip
        with pytest.raises(Misuse):
            parse_identifier(bad)
