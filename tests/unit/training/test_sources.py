"""Encrypted tables by row groups, exactly as their listing has them; and plain Parquet, where nobody has keys."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from confide.data.listing import Listing
from confide.data.parquet import FileSizes
from confide.data.tables import encrypt_table
from confide.enclave.program_socket import StreamedTable
from confide.errors import (
    ConfideError,
    FileChanged,
    FileMissing,
    FileUnlisted,
    InvalidFormat,
    Misuse,
    NotEncrypted,
    Tampered,
    UnknownKey,
)
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName
from confide.training.sources import (
    EncryptedSource,
    PlainSource,
    describe,
    source_at,
)

PATIENTS, IDENTIFIERS = KeyName("clinic", "patients"), KeyName("clinic", "identifiers")
ROWS, PER_GROUP = 1000, 50
BOTH = frozenset({str(PATIENTS), str(IDENTIFIERS)})


def _held(*names: KeyName) -> Keyset:
    return Keyset({name: NamedKey(name, 1, {1: str(name).encode().ljust(32, b"\0")[:32]}) for name in names})


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    table = pa.table({"id": list(range(ROWS)), "ssn": [f"secret-{i}" for i in range(ROWS)]})
    pq.write_table(table, tmp_path / "plain.parquet")
    return tmp_path / "plain.parquet"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "table"


@pytest.fixture
def listing(plain: Path, folder: Path) -> Listing:
    """Of a table of ten files with two row groups each."""
    return encrypt_table(
        plain,
        folder,
        _held(PATIENTS, IDENTIFIERS),
        PATIENTS,
        location="data/patients",
        columns={"ssn": IDENTIFIERS},
        sizes=FileSizes(row_group_rows=PER_GROUP, file_row_groups=2),
    )


def _source(folder: Path, listing: Listing, *names: KeyName) -> EncryptedSource:
    keys = names or (PATIENTS, IDENTIFIERS)
    return EncryptedSource(StreamedTable(folder, listing, frozenset(map(str, keys)), _held(*keys)))


def _ids(source: EncryptedSource | PlainSource, columns: tuple[str, ...] = ("id",)) -> Iterator[int]:
    _, files = describe(source)
    for number, groups in enumerate(files):
        with contextlib.closing(source.open(number)) as file:
            for index, rows in enumerate(groups):
                for batch in file.rows_of(index, columns, 0, rows):
                    yield from batch["id"].to_pylist()


def _count(source: EncryptedSource, number: int) -> int:
    with contextlib.closing(source.open(number)) as file:
        return sum(batch.num_rows for batch in file.rows_of(0, ["id"], 0, PER_GROUP))


@pytest.mark.parametrize(("start", "stop"), [(0, 400), (399, 400), (100, 101), (17, 123), (0, 1), (0, 0)])
def test_parts_of_a_row_group(tmp_path: Path, start: int, stop: int) -> None:
    wide = pa.table({"id": list(range(400)), "image": [bytes(70_000)] * 400})
    pq.write_table(wide, tmp_path / "wide.parquet", use_dictionary=False)
    file = PlainSource(tmp_path / "wide.parquet").open(0)
    batches = list(file.rows_of(0, ["id", "image"], start, stop))
    assert [i for batch in batches for i in batch["id"].to_pylist()] == list(range(start, stop))
    assert max([batch.num_rows for batch in batches], default=0) <= 16, "rows of 70 kB come in small pieces"


def test_a_row_group_never_ends_early(folder: Path, listing: Listing) -> None:
    file = _source(folder, listing).open(0)
    with pytest.raises(Tampered, match="ends after 50 rows"):
        list(file.rows_of(0, ["id"], 0, PER_GROUP + 1))


def test_every_row_comes_once_and_in_order(folder: Path, listing: Listing, plain: Path) -> None:
    assert len(listing.files) == 10
    assert describe(_source(folder, listing))[1] == [(PER_GROUP, PER_GROUP)] * 10
    assert list(_ids(_source(folder, listing))) == list(range(ROWS))
    assert list(_ids(PlainSource(plain))) == list(range(ROWS))


def test_a_column_whose_key_was_not_released_is_not_read(folder: Path, listing: Listing) -> None:
    source = _source(folder, listing, PATIENTS)
    assert source.readable("id")
    assert not source.readable("ssn")
    assert sum(_ids(source)) == sum(range(ROWS))
    with pytest.raises(UnknownKey):
        next(_ids(source, ("id", "ssn")))


def _remove(path: Path, _: Path) -> None:
    path.unlink()


def _shorten(path: Path, _: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _swap(path: Path, other: Path) -> None:
    path.write_bytes(other.read_bytes())


def _in_clear(path: Path, _: Path) -> None:
    pq.write_table(pa.table({"id": [1], "ssn": ["x"]}), path)


ATTACKS = {_remove: FileMissing, _shorten: FileChanged, _swap: FileChanged, _in_clear: NotEncrypted}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_storage_that_changed_before_is_refused_before_any_row(
    folder: Path, listing: Listing, attack
) -> None:
    last, first = folder / listing.files[-1].path, folder / listing.files[0].path
    attack(last, first)
    with pytest.raises(ATTACKS[attack]):
        _source(folder, listing)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_storage_that_changes_meanwhile_is_refused_at_that_file(
    folder: Path, listing: Listing, attack
) -> None:
    source = _source(folder, listing)
    _, files = describe(source)
    attack(folder / listing.files[5].path, folder / listing.files[0].path)
    for number in range(5):
        assert _count(source, number) == PER_GROUP
    with pytest.raises(ATTACKS[attack]):
        _count(source, 5)
    assert len(files) == 10, "an attack never makes the table shorter"


def test_a_flipped_byte_of_data_is_refused(folder: Path, listing: Listing) -> None:
    path = folder / listing.files[3].path
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    with pytest.raises(Tampered):
        list(_ids(_source(folder, listing)))


def test_a_file_more_is_refused(folder: Path, listing: Listing) -> None:
    (folder / "more.parquet").write_bytes((folder / listing.files[0].path).read_bytes())
    with pytest.raises(FileUnlisted):
        _source(folder, listing)


@pytest.mark.parametrize("name", ["table", "nothing", "empty"])
def test_what_cannot_be_read_in_clear_says_so(
    tmp_path: Path, folder: Path, listing: Listing, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    error: type[ConfideError] = NotEncrypted if name == "table" else Misuse
    with pytest.raises(error):
        describe(source_at(str(tmp_path / name)))


def test_files_of_other_columns_are_no_table(tmp_path: Path) -> None:
    for name, column in (("a", "x"), ("b", "y")):
        pq.write_table(pa.table({column: [1]}), tmp_path / f"{name}.parquet")
    (tmp_path / "_hidden.parquet").write_bytes(b"")
    with pytest.raises(InvalidFormat, match="other columns"):
        describe(PlainSource(tmp_path))


def test_what_is_no_parquet_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"no Parquet at all")
    with pytest.raises(InvalidFormat):
        describe(PlainSource(tmp_path))
