"""Where rows come from: in an image the encrypted table that the agent names, elsewhere plain Parquet files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from confide.data.listing_io import check_folder, open_listed
from confide.data.parquet_reader import EncryptedFile, row_groups, rows_of
from confide.enclave.program_socket import StreamedTable, inside_image, streamed_table
from confide.errors import InvalidFormat, Misuse, NotEncrypted


class OpenFile(Protocol):
    """A Parquet file that is read by row groups."""

    @property
    def schema(self) -> pa.Schema:
        """Its Arrow schema."""
        ...

    @property
    def row_groups(self) -> tuple[int, ...]:
        """Number of rows of each row group."""
        ...

    def rows_of(
        self, row_group: int, columns: Sequence[str], start: int, stop: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows of one row group, a few at a time."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Source(Protocol):
    """A table, as files."""

    files: int
    """How many."""

    def open(self, number: int) -> OpenFile:
        """Open one of its files."""
        ...

    def readable(self, column: str) -> bool:
        """Return whether a column may be read."""
        ...


class EncryptedSource:
    """An encrypted table, exactly the files of its listing, each checked against it whenever it is opened.

    Raises:
        FileMissing, FileChanged, FileUnlisted, NotEncrypted: storage holds something else.
    """

    def __init__(self, table: StreamedTable) -> None:
        check_folder(table.folder, table.listing)
        self._table = table
        self.files = len(table.listing.files)

    def open(self, number: int) -> EncryptedFile:
        """Open one of its files. Raises as `EncryptedFile`, and FileMissing."""
        table, listed = self._table, self._table.listing.files[number]
        file = open_listed(table.folder, listed.path)
        return EncryptedFile(file, table.keyset, table.listing.table, listed)

    def readable(self, column: str) -> bool:
        """Return whether the column's key was released."""
        return self._table.readable(column)


class PlainFile:
    """A plain Parquet file.

    Raises:
        NotEncrypted: it is encrypted, and there is nobody to ask for keys.
        InvalidFormat: it is no Parquet file.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            if file.read(4) == b"PARE":
                raise NotEncrypted(f"{path} is encrypted: a program under `confide run` can read it")
        try:
            self._file = pq.ParquetFile(path)
        except pa.ArrowException:
            raise InvalidFormat(f"{path} is no Parquet file") from None

    @property
    def schema(self) -> pa.Schema:
        """Its Arrow schema."""
        return self._file.schema_arrow

    @property
    def row_groups(self) -> tuple[int, ...]:
        """Number of rows of each row group."""
        return row_groups(self._file)

    def rows_of(
        self, row_group: int, columns: Sequence[str], start: int, stop: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows of one row group, a few at a time."""
        return rows_of(self._file, row_group, columns, start, stop)

    def close(self) -> None:
        """Close it."""
        self._file.close()


class PlainSource:
    """Plain Parquet: a file, or the `.parquet` files of a folder.

    Raises:
        Misuse: there is none.
    """

    def __init__(self, path: Path) -> None:
        self._paths = [path]
        if path.is_dir():
            found = path.glob("*.parquet")
            self._paths = sorted(one for one in found if not one.name.startswith(("_", ".")))
        if not self._paths or not self._paths[0].is_file():
            raise Misuse(f"no Parquet files at {path}")
        self.files = len(self._paths)

    def open(self, number: int) -> PlainFile:
        """Open one of its files. Raises as `PlainFile`."""
        return PlainFile(self._paths[number])

    def readable(self, column: str) -> bool:  # noqa: ARG002 - all are
        """Return True."""
        return True


def source_at(location: str) -> Source:
    """Return the table at a location. In an image it is an encrypted one that was declared, or there is none.

    Raises:
        NoGrant, Unavailable: as `streamed_table`.
        FileMissing, FileChanged, FileUnlisted, NotEncrypted: storage holds something else than was committed.
        Misuse: elsewhere, there are no Parquet files.
    """
    if inside_image():
        return EncryptedSource(streamed_table(location))
    return PlainSource(Path(location))


def describe(source: Source) -> tuple[pa.Schema, list[tuple[int, ...]]]:
    """Open each file once, and return their schema and the sizes of their row groups.

    Raises:
        InvalidFormat: one has other columns than the first.
    """
    schema: Any = None
    groups = []
    for number in range(source.files):
        with contextlib.closing(source.open(number)) as file:
            schema = file.schema if schema is None else schema
            if [(f.name, f.type) for f in file.schema] != [(f.name, f.type) for f in schema]:
                raise InvalidFormat(f"file {number} of the table has other columns than the first")
            groups.append(file.row_groups)
    return schema, groups
