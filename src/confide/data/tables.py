"""Encrypting and decrypting whole tables: CSV or Parquet in, a location of encrypted Parquet out, and back."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq

from confide.data import csv_source
from confide.data.atomic import atomic_file, atomic_folder, storage_errors
from confide.data.csv_source import CsvOptions
from confide.data.listing import TABLE_ID_BYTES, Format, Listing
from confide.data.listing_io import Progress, Sign, check_folder, write_copy
from confide.data.parquet import FileSizes, TableKeys, TableReader, write_table
from confide.errors import InvalidFormat, Misuse
from confide.keys.material import Keyset
from confide.keys.names import KeyName

_BATCH_ROWS, _BATCH_BYTES, _BUFFER_BYTES = 64 * 1024, 4 * 1024 * 1024, 256 * 1024
_CSV, _PARQUET = (".csv", ".csv.gz"), (".parquet",)


def encrypt_table(
    source: Path,
    target: Path,
    keyset: Keyset,
    key: KeyName,
    *,
    location: str,
    columns: Mapping[str, KeyName] | None = None,
    serial: int = 1,
    table: str | None = None,
    csv: CsvOptions | None = None,
    sign: Sign | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    sizes: FileSizes | None = None,
) -> Listing:
    """Encrypt a table into a new folder, in constant memory; the folder appears whole or not at all.

    Args:
        source: a CSV or Parquet file, or a folder of files of one of these kinds.
        target: the new location.
        keyset: holds all keys named.
        key: key of the footer and of every column not in `columns`.
        location: `target` in the policy's words.
        columns: top-level column -> its own key.
        serial: of the listing.
        table: id of the table; None makes a new one.
        csv: how CSV files are read; None: every type is found, cells end at commas.
        sign: if given, the signed listing is written into the folder as well.
        overwrite: replace what `target` holds.
        progress: told how far it is; a CSV file is read twice.
        sizes: how the table is cut into files.

    Returns:
        The listing of the new location.

    Raises:
        InvalidFormat: the source is no such table.
        Misuse: columns that do not exist, names that cannot be used.
        AlreadyExists: `target` is there, and `overwrite` was not given.
        UnknownKey, RevokedKey: a key is not held, or was revoked.
        StorageUnavailable: disk full, permission, I/O; nothing is left behind.
    """
    keys = TableKeys(keyset, table or secrets.token_hex(TABLE_ID_BYTES), key, columns or {})
    with atomic_folder(target, overwrite=overwrite) as folder:
        batches, schema = _open_source(source, csv, progress or (lambda _done, _total: None))
        files = write_table(batches, schema, folder, keys, sizes or FileSizes())
        listing = Listing(
            table=keys.table,
            owner=key.owner,
            location=location,
            format=Format.TABLE,
            serial=serial,
            key=str(key),
            columns={column: str(name) for column, name in keys.columns.items()},
            files=tuple(files),
        )
        if sign is not None:
            write_copy(folder, listing, sign(listing), keyset)
    return listing


def decrypt_table(
    folder: Path,
    listing: Listing,
    keyset: Keyset,
    target: Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Decrypt a whole table into one file, `.csv` or `.parquet`, readable by its owner only.

    Raises:
        FileMissing, FileChanged, FileUnlisted, Tampered: the location is not what the listing says.
        Misuse: another ending, or columns that CSV cannot hold.
        AlreadyExists: `target` is there, and `overwrite` was not given.
        UnknownKey, RevokedKey: a key is not held, or was revoked.
        StorageUnavailable: disk full, permission, I/O; nothing is left behind.
    """
    if target.suffix not in (".csv", ".parquet"):
        raise Misuse(f"{target.name}: a table is decrypted to .csv or .parquet")
    check_folder(folder, listing)
    reader = TableReader(folder, listing, keyset)
    total, done = sum(file.size for file in listing.files), 0
    with atomic_file(target, overwrite=overwrite, mode=0o600) as file, ExitStack() as stack:
        writer = _table_writer(file, reader.schema(), target, stack)
        for listed in listing.files:
            for batch in reader.batches_of(listed):
                writer.write_batch(batch)
            done += listed.size
            if progress is not None:
                progress(done, total)


def _table_writer(file: Any, schema: pa.Schema, target: Path, stack: ExitStack) -> Any:
    if target.suffix == ".parquet":
        return stack.enter_context(pq.ParquetWriter(file, schema, compression="zstd"))
    for field in schema:
        if pa.types.is_nested(field.type):
            raise Misuse(f"column {field.name!r} is nested: CSV cannot hold it, Parquet can")
    return stack.enter_context(pc.CSVWriter(file, schema))


def _open_source(
    source: Path, csv: CsvOptions | None, progress: Progress
) -> tuple[Iterator[pa.RecordBatch], pa.Schema]:
    paths = _paths(source)
    is_csv = paths[0].name.endswith(_CSV)
    with storage_errors(f"cannot read {source.name}"):
        total = sum(path.stat().st_size for path in paths) * (2 if is_csv else 1)
    done = 0

    def report(more: int) -> None:
        nonlocal done
        done += more
        progress(done, total)

    if is_csv:
        options = csv or CsvOptions({})
        schema = csv_source.find_schema(paths, options, report)
        return (
            row for path in paths for row in csv_source.read_batches(path, schema, options, report)
        ), schema
    if csv is not None:
        raise Misuse("types and delimiters are for CSV files; Parquet has its own types")
    return _parquet_batches(paths, report), _parquet_schema(paths)


def _paths(source: Path) -> list[Path]:
    if not source.exists():
        raise Misuse(f"no such file or folder: {source}")
    paths = [source]
    if source.is_dir():
        with storage_errors(f"cannot list {source.name}"):
            paths = sorted(path for path in source.iterdir() if not path.name.startswith(("_", ".")))
    for kind in (_CSV, _PARQUET):
        if paths and all(path.name.endswith(kind) and path.is_file() for path in paths):
            return paths
    raise InvalidFormat(f"{source} is no .csv or .parquet file, nor a folder of files of one of these kinds")


def _parquet_schema(paths: list[Path]) -> pa.Schema:
    schemas = []
    for path in paths:
        with _parquet_file(path) as file:
            schemas.append(file.schema_arrow)
    for path, schema in zip(paths, schemas, strict=True):
        if schema != schemas[0]:
            raise InvalidFormat(f"{path.name} has other columns than {paths[0].name}")
    return schemas[0]


def _parquet_batches(paths: list[Path], report: csv_source.Report) -> Iterator[pa.RecordBatch]:
    for path in paths:
        size, told = path.stat().st_size, 0
        with _parquet_file(path) as file:
            rows, read = max(1, file.metadata.num_rows), 0
            batches = file.iter_batches(_batch_rows(file.metadata))
            while True:
                try:
                    batch = next(batches, None)
                except (pa.ArrowException, OSError):
                    raise InvalidFormat(f"{path.name} is damaged") from None
                if batch is None:
                    break
                read += batch.num_rows
                report(size * read // rows - told)
                told = size * read // rows
                yield batch


def _batch_rows(metadata: pq.FileMetaData) -> int:
    """Return how many rows to read at once, at the rows' size where they are largest."""
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    row_bytes = max((group.total_byte_size // max(1, group.num_rows) for group in groups), default=0)
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, row_bytes)))


def _parquet_file(path: Path) -> pq.ParquetFile:
    try:
        # Column chunks are read through buffers, not whole: a row group may be larger than memory.
        return pq.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        with storage_errors(f"cannot read {path.name}"):
            if isinstance(error, OSError) and error.errno is not None:
                raise
        raise InvalidFormat(f"{path.name} is no plain Parquet file") from None
