import gzip
import io
import random

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from confide.canonical import canonical_json
from confide.data import csv_source, tables
from confide.data.csv_source import CsvOptions
from confide.data.listing_io import LISTING_NAME, check_folder, read_copy
from confide.data.parquet import FileSizes, TableReader
from confide.data.tables import decrypt_table, encrypt_table
from confide.errors import (
    AlreadyExists,
    FileMissing,
    FileUnlisted,
    InvalidFormat,
    Misuse,
    NotEncrypted,
    RevokedKey,
    StorageUnavailable,
    Tampered,
    UnknownKey,
)
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName

IDENTIFIERS = KeyName("clinic", "identifiers")
CSV = 'id,name,größe,note\n1,"Ada, L.",1.5,\n2,Bob,,"two\nlines"\n3,Zoë,3,"say ""hi"""\n'


@pytest.fixture
def encrypt(tmp_path, keyset, key):
    def go(source, target="out", **options):
        return encrypt_table(source, tmp_path / target, keyset, key, location="data/t", **options)

    return go


@pytest.fixture
def csv(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text(CSV, "utf-8")
    return path


def left_behind(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir() if "confide" in path.name)


def test_csv_to_table_and_back(encrypt, csv, tmp_path, keyset):
    seen = []
    listing = encrypt(
        csv, columns={"name": IDENTIFIERS}, progress=lambda done, total: seen.append((done, total))
    )
    assert (listing.owner, listing.key, listing.serial, listing.location) == (
        "clinic",
        "clinic/patients",
        1,
        "data/t",
    )
    assert listing.columns == {"name": "clinic/identifiers"}
    check_folder(tmp_path / "out", listing)
    table = TableReader(tmp_path / "out", listing, keyset).read()
    assert table.schema.names == ["id", "name", "größe", "note"]
    assert table.column("größe").to_pylist() == [1.5, None, 3.0]
    assert table.column("note").to_pylist() == [None, "two\nlines", 'say "hi"']
    assert seen[-1][0] == seen[-1][1] == 2 * csv.stat().st_size
    for name in ("back.csv", "back.parquet"):
        decrypt_table(tmp_path / "out", listing, keyset, tmp_path / name)
    assert pq.read_table(tmp_path / "back.parquet") == table
    assert (tmp_path / "back.csv").read_text("utf-8").splitlines()[1] == '1,"Ada, L.",1.5,'
    assert pc.read_csv(tmp_path / "back.csv", parse_options=pc.ParseOptions(newlines_in_values=True)).to_pydict() == {
        "id": [1, 2, 3], "name": ["Ada, L.", "Bob", "Zoë"], "größe": [1.5, None, 3.0],
        "note": ["", "two\nlines", 'say "hi"']}  # fmt: skip
    assert (tmp_path / "back.csv").stat().st_mode & 0o077 == 0
    assert left_behind(tmp_path) == []


def test_folders_and_packed_files(encrypt, tmp_path, keyset):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.csv").write_text("id,x\n1,\n2,5\n")
    (folder / "b.csv.gz").write_bytes(gzip.compress(b"id,x\n3,hello\n"))
    (folder / "_SUCCESS").write_text("")
    listing = encrypt(folder)
    assert TableReader(tmp_path / "out", listing, keyset).read().to_pydict() == {
        "id": [1, 2, 3],
        "x": [None, "5", "hello"],
    }


@pytest.mark.parametrize(
    ("late", "expected"),
    [("7", pa.int64()), ("1.5", pa.float64()), ("word", pa.string()), ("2020-01-01", pa.string())],
)
def test_types_hold_for_every_row(late, expected, encrypt, tmp_path, keyset, monkeypatch):
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 4096)
    path = tmp_path / "late.csv"
    path.write_text("n,always\n" + "1,\n" * 5000 + late + ",\n")
    listing = encrypt(path)
    table = TableReader(tmp_path / "out", listing, keyset).read()
    assert table.schema.types == [expected, pa.string()]
    assert table.num_rows == 5001
    assert str(table.column(0)[5000].as_py()) == late


def test_types_that_are_given(encrypt, tmp_path, keyset):
    path = tmp_path / "zip.csv"
    path.write_text("zip\n01234\n")
    listing = encrypt(path, csv=CsvOptions({"zip": pa.string()}))
    assert TableReader(tmp_path / "out", listing, keyset).read().to_pydict() == {"zip": ["01234"]}
    path.write_text("zip\nword-canary\n")
    with pytest.raises(InvalidFormat) as caught:
        encrypt(path, "other", csv=CsvOptions({"zip": pa.int64()}))
    assert "canary" not in str(caught.value)
    with pytest.raises(InvalidFormat, match="nothing_such"):
        encrypt(path, "other", csv=CsvOptions({"nothing_such": pa.string()}))


def test_header_without_rows(encrypt, tmp_path, keyset):
    path = tmp_path / "empty.csv"
    path.write_text("a,b\n")
    listing = encrypt(path)
    assert TableReader(tmp_path / "out", listing, keyset).read().to_pydict() == {"a": [], "b": []}
    decrypt_table(tmp_path / "out", listing, keyset, tmp_path / "back.csv")
    assert (tmp_path / "back.csv").read_text() == '"a","b"\n'


@pytest.mark.parametrize(
    "content",
    [b"", b"a,b\n1\n", b"a,b\n1,2,3\n", b"a,a\n1,2\n", b"a\n\xff\xfe\n", b"PAR1", b"\x00\x01\x02"],
)
def test_no_csv(content, encrypt, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidFormat):
        encrypt(path)
    assert not (tmp_path / "out").exists()
    assert left_behind(tmp_path) == []


def test_sources_that_make_no_sense(encrypt, csv, tmp_path):
    mixed, empty, other = tmp_path / "mixed", tmp_path / "empty", tmp_path / "other"
    for folder in (mixed, empty, other):
        folder.mkdir()
    (mixed / "a.csv").write_text("a\n1\n")
    pq.write_table(pa.table({"a": [1]}), mixed / "b.parquet")
    (other / "a.csv").write_text("a\n1\n")
    (other / "b.csv").write_text("b\n1\n")
    (tmp_path / "x.txt").write_text("a")
    (tmp_path / "x.parquet").write_text("a,b\n1,2\n")
    for source in (mixed, empty, other, tmp_path / "x.txt", tmp_path / "x.parquet"):
        with pytest.raises(InvalidFormat):
            encrypt(source)
    with pytest.raises(Misuse):
        encrypt(tmp_path / "nothing.csv")
    with pytest.raises(Misuse):
        encrypt(csv, columns={"ssn": IDENTIFIERS})
    assert not (tmp_path / "out").exists()
    assert left_behind(tmp_path) == []


def test_parquet_folder(encrypt, tmp_path, keyset):
    folder, rng = tmp_path / "in", random.Random(5)
    folder.mkdir()
    table = pa.table({"i": range(10_000), "s": [{"x": rng.random()} for _ in range(10_000)]})
    pq.write_table(table.slice(0, 4000), folder / "a.parquet", row_group_size=1000)
    pq.write_table(table.slice(4000), folder / "b.parquet")
    seen = []
    sizes = FileSizes(row_group_rows=1500, file_bytes=30_000)
    listing = encrypt(folder, sizes=sizes, progress=lambda *now: seen.append(now))
    assert len(listing.files) > 1
    assert TableReader(tmp_path / "out", listing, keyset).read() == table
    assert seen[-1][0] == seen[-1][1]
    decrypt_table(tmp_path / "out", listing, keyset, tmp_path / "back.parquet")
    assert pq.read_table(tmp_path / "back.parquet") == table
    with pytest.raises(Misuse, match="nested"):
        decrypt_table(tmp_path / "out", listing, keyset, tmp_path / "back.csv")
    assert not (tmp_path / "back.csv").exists()


def test_encrypted_source_is_no_source(encrypt, csv, tmp_path):
    encrypt(csv)
    with pytest.raises(InvalidFormat):
        encrypt(tmp_path / "out", "again")


def test_nothing_is_overwritten_unless_told(encrypt, csv, tmp_path, keyset):
    first = encrypt(csv)
    with pytest.raises(AlreadyExists):
        encrypt(csv)
    check_folder(tmp_path / "out", first)
    second = encrypt(csv, overwrite=True, serial=2)
    check_folder(tmp_path / "out", second)
    target = tmp_path / "back.csv"
    target.write_text("mine")
    with pytest.raises(AlreadyExists):
        decrypt_table(tmp_path / "out", second, keyset, target)
    assert target.read_text() == "mine"
    decrypt_table(tmp_path / "out", second, keyset, target, overwrite=True)
    with pytest.raises(Misuse):
        decrypt_table(tmp_path / "out", second, keyset, tmp_path / "back.xlsx")
    assert left_behind(tmp_path) == []


def test_refused_keys_leave_nothing(csv, tmp_path, keyset, key):
    revoked = Keyset({key: NamedKey(key, None, {}, frozenset({1, 2}))})
    for held, error in ((Keyset({}), UnknownKey), (revoked, RevokedKey)):
        with pytest.raises(error):
            encrypt_table(csv, tmp_path / "out", held, key, location="x")
    assert not (tmp_path / "out").exists()
    assert left_behind(tmp_path) == []


def test_failure_in_the_middle_of_decryption(encrypt, tmp_path, keyset):
    rng = random.Random(6)
    pq.write_table(pa.table({"r": [rng.random() for _ in range(20_000)]}), tmp_path / "in.parquet")
    listing = encrypt(tmp_path / "in.parquet", sizes=FileSizes(row_group_rows=5000, file_row_groups=2))
    path = tmp_path / "out" / listing.files[1].path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    for name in ("back.csv", "back.parquet"):
        with pytest.raises(Tampered):
            decrypt_table(tmp_path / "out", listing, keyset, tmp_path / name)
        assert not (tmp_path / name).exists()
    assert left_behind(tmp_path) == []


def test_location_that_differs_from_its_listing(encrypt, csv, tmp_path, keyset):
    listing = encrypt(csv)
    path, target = tmp_path / "out" / listing.files[0].path, tmp_path / "back.csv"
    extra = path.with_name("part-99999.parquet")
    extra.write_bytes(path.read_bytes())
    with pytest.raises(FileUnlisted, match="part-99999"):
        decrypt_table(tmp_path / "out", listing, keyset, target)
    extra.unlink()
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(FileMissing, match=path.name):
        decrypt_table(tmp_path / "out", listing, keyset, target)
    pq.write_table(pa.table({"id": [1]}), path)
    with pytest.raises(NotEncrypted, match=path.name):
        decrypt_table(tmp_path / "out", listing, keyset, target)
    path.write_bytes(data)
    decrypt_table(tmp_path / "out", listing, keyset, target)


def test_signed_copy_comes_with_the_folder(encrypt, csv, tmp_path, keyset):
    listing = encrypt(csv, sign=lambda made: {"payload": made.canonical().decode(), "signature": "x"})
    assert read_copy(tmp_path / "out", keyset, lambda jws: jws["payload"].encode()) == listing
    assert b"payload" not in (tmp_path / "out" / LISTING_NAME).read_bytes()
    check_folder(tmp_path / "out", listing)
    assert canonical_json({"payload": 1})


def test_missing_parent_is_storage(csv, tmp_path, keyset, key):
    with pytest.raises(StorageUnavailable):
        encrypt_table(csv, tmp_path / "no" / "such" / "out", keyset, key, location="x")


def test_io_module_is_enough_for_a_reader(encrypt, csv, tmp_path, keyset):
    listing = encrypt(csv)
    from confide.data.parquet import EncryptedFile

    data = io.BytesIO((tmp_path / "out" / listing.files[0].path).read_bytes())
    with EncryptedFile(data, keyset, listing.table, listing.files[0]) as file:
        assert file.rows == 3


def test_parquet_of_large_rows_is_read_in_small_batches(encrypt, tmp_path, keyset, monkeypatch):
    monkeypatch.setattr(tables, "_BATCH_BYTES", 100_000)
    rng = random.Random(8)
    table = pa.table({"blob": [rng.randbytes(30_000) for _ in range(20)], "n": range(20)})
    pq.write_table(table, tmp_path / "in.parquet")
    assert tables._batch_rows(pq.read_metadata(tmp_path / "in.parquet")) == 3
    listing = encrypt(tmp_path / "in.parquet")
    assert TableReader(tmp_path / "out", listing, keyset).read() == table
