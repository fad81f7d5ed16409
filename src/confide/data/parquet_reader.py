"""Reading an encrypted table: exactly the files of its listing, each from the tail that the listing binds."""

from __future__ import annotations

import hmac
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from confide.data.listing import Format, ListedFile, Listing
from confide.data.listing_io import open_listed
from confide.data.parquet_kms import TableKms, translated
from confide.data.parquet_tail import TailedFile, read_tail
from confide.errors import FileChanged, InvalidFormat, Misuse, NotEncrypted, Tampered
from confide.keys.material import Keyset

BATCH_ROWS = 64 * 1024
_STEP_BYTES, _STEP_ROWS = 1024 * 1024, (16, 8192)


class EncryptedFile:
    """One encrypted Parquet file, open for reading. A context manager.

    Args:
        file: seekable; closed with the reader, and when opening fails.
        keyset: holds the keys of the footer and of the columns that are read.
        table: id of the table that the file belongs to.
        listed: its entry in the listing; size and binding are checked.

    Raises:
        NotEncrypted: a plain Parquet file, or no Parquet file.
        FileChanged: another file than the listed one, or of another table.
        Tampered: it does not authenticate.
        UnknownKey, RevokedKey: the footer's key is not held, or was revoked.
    """

    def __init__(self, file: BinaryIO, keyset: Keyset, table: str, listed: ListedFile | None = None) -> None:
        self._name = listed.path if listed else "the Parquet file"
        self._kms = TableKms(keyset, table)
        self._file = file
        try:
            with translated(self._kms, self._name):
                self._parquet = self._open(file, listed)
        except BaseException:
            file.close()
            raise

    def _open(self, file: BinaryIO, listed: ListedFile | None) -> pq.ParquetFile:
        try:
            tail = read_tail(file)
        except NotEncrypted as error:
            raise NotEncrypted(f"{self._name}: {error}") from None
        except InvalidFormat as error:
            raise FileChanged(f"{self._name}: {error}") from None
        if listed and tail.size != listed.size:
            raise FileChanged(f"{self._name} has {tail.size} bytes, listed are {listed.size}")
        if listed and not hmac.compare_digest(tail.binding, listed.binding):
            raise FileChanged(f"{self._name} is another file than the listed one")
        kms = self._kms  # arrow holds the function: if that held this reader, both would stay forever
        self._factory = pe.CryptoFactory(lambda _connection: kms)
        properties = self._factory.file_decryption_properties(pe.KmsConnectionConfig())
        source = pa.PythonFile(TailedFile(file, tail), mode="r")
        return pq.ParquetFile(source, decryption_properties=properties, pre_buffer=True)

    @property
    def schema(self) -> pa.Schema:
        """The file's Arrow schema."""
        return self._parquet.schema_arrow

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self._parquet.metadata.num_rows)

    @property
    def row_groups(self) -> tuple[int, ...]:
        """Number of rows of each row group."""
        return row_groups(self._parquet)

    def rows_of(
        self, row_group: int, columns: Sequence[str], start: int, stop: int
    ) -> Iterator[pa.RecordBatch]:
        """Yield rows of one row group from `start` on, before `stop`, a few at a time. Raises as `batches`."""
        _check_columns(self.schema, columns)
        with translated(self._kms, self._name):
            iterator = rows_of(self._parquet, row_group, columns, start, stop)
        yield from self._translated(iterator)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the rows of `columns` (None: all); keys of other columns are not needed.

        Raises:
            Misuse: no such column.
            Tampered: data does not authenticate.
            UnknownKey, RevokedKey: a column's key is not held, or was revoked.
        """
        _check_columns(self.schema, columns)
        selected = None if columns is None else list(columns)
        with translated(self._kms, self._name):
            iterator = self._parquet.iter_batches(BATCH_ROWS, columns=selected)
        yield from self._translated(iterator)

    def _translated(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        while True:
            with translated(self._kms, self._name):
                batch = next(batches, None)
            if batch is None:
                return
            yield batch

    def close(self) -> None:
        """Close the file."""
        self._parquet.close(force=True)
        self._file.close()

    def __enter__(self) -> EncryptedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class TableReader:
    """An encrypted table on local storage, as its listing describes it.

    Args:
        folder: the location.
        listing: verified by the caller; format `table`.
        keyset: holds the keys of what is read.

    Raises:
        Misuse: a listing of sealed files, or of no file.
    """

    def __init__(self, folder: Path, listing: Listing, keyset: Keyset) -> None:
        if listing.format is not Format.TABLE or not listing.files:
            raise Misuse("not the listing of a table")
        self._folder, self._listing, self._keyset = folder, listing, keyset

    def open(self, listed: ListedFile) -> EncryptedFile:
        """Open one of the listing's files. Raises as `EncryptedFile`, and FileMissing."""
        return EncryptedFile(
            open_listed(self._folder, listed.path), self._keyset, self._listing.table, listed
        )

    def schema(self) -> pa.Schema:
        """Return the schema of the first file; of several, every column may be null: it may be in another file."""
        with self.open(self._listing.files[0]) as file:
            schema = file.schema
        if len(self._listing.files) > 1:
            schema = _nullable(schema)
        return schema

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield the table's rows, file by file in the listing's order. Raises as `EncryptedFile.batches`."""
        for listed in self._listing.files:
            yield from self.batches_of(listed, columns)

    def batches_of(
        self, listed: ListedFile, columns: Sequence[str] | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows of one of the listing's files, with the table's schema. Raises as `EncryptedFile.batches`."""
        several = len(self._listing.files) > 1
        with self.open(listed) as file:
            for batch in file.batches(columns):
                if several:
                    batch = pa.RecordBatch.from_arrays(batch.columns, schema=_nullable(batch.schema))
                yield batch

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return the whole table, or some columns of it, in memory."""
        schema = self.schema()
        _check_columns(schema, columns)
        if columns is not None:
            schema = pa.schema([schema.field(name) for name in columns]).with_metadata(schema.metadata)
        return pa.Table.from_batches(self.batches(columns), schema)


def row_groups(parquet: pq.ParquetFile) -> tuple[int, ...]:
    """Return the number of rows of each row group, as the footer says it."""
    metadata = parquet.metadata
    return tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))


def rows_of(
    parquet: pq.ParquetFile, row_group: int, columns: Sequence[str], start: int, stop: int
) -> Iterator[pa.RecordBatch]:
    """Yield rows of a row group from `start` on, before `stop`, about 1 MiB at a time; those after are not decoded.

    Raises:
        Tampered: there are fewer than its footer says.
    """
    group = parquet.metadata.row_group(row_group)
    fewest, most = _STEP_ROWS
    step = max(fewest, min(most, _STEP_BYTES * group.num_rows // max(1, group.total_byte_size)))
    position = 0
    for batch in parquet.iter_batches(step, row_groups=[row_group], columns=list(columns)):
        first, end = max(start - position, 0), min(stop - position, batch.num_rows)
        position += batch.num_rows
        if first < end:
            yield batch.slice(first, end - first)
        if position >= stop:
            return
    raise Tampered(f"row group {row_group} ends after {position} rows, and has {group.num_rows}")


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema]).with_metadata(schema.metadata)


def _check_columns(schema: pa.Schema, columns: Sequence[str] | None) -> None:
    unknown = sorted(set(columns or ()) - set(schema.names))
    if unknown:
        raise Misuse(f"no such column: {', '.join(unknown)}")
