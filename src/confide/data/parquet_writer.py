"""Writing an encrypted table: Parquet Modular Encryption, every column and the footer under a named key."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from confide.data.listing import ListedFile
from confide.data.parquet_kms import TableKms, translated
from confide.data.parquet_tail import TailRecorder
from confide.errors import Misuse
from confide.keys.material import Keyset
from confide.keys.names import KeyName


@dataclass(frozen=True)
class FileSizes:
    """How a table is cut. Engines share out files and row groups, so neither should be huge.

    Attributes:
        row_group_bytes: in memory, before encoding.
        row_group_rows: at most.
        file_bytes: a new file begins when one has reached this size on storage.
        file_row_groups: at most; the format numbers them with 16 bits.
    """

    row_group_bytes: int = 32 * 1024 * 1024
    row_group_rows: int = 1024 * 1024
    file_bytes: int = 128 * 1024 * 1024
    file_row_groups: int = 512


@dataclass(frozen=True)
class TableKeys:
    """Who may read which column.

    Attributes:
        keyset: holds all keys named.
        table: id of the table, 32 hex digits.
        key: key of the footer and of every column not in `columns`.
        columns: top-level column -> its own key.
    """

    keyset: Keyset
    table: str
    key: KeyName
    columns: Mapping[str, KeyName]


def write_table(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    folder: Path,
    keys: TableKeys,
    sizes: FileSizes = FileSizes(),
) -> list[ListedFile]:
    """Write record batches as one or more encrypted Parquet files into an existing folder.

    A table without rows still gets one file, which carries the schema. Memory: about one row group,
    and what encoding it takes.

    Returns:
        The files' entries for the listing, sorted by path.

    Raises:
        Misuse: a mapped column that is not in `schema`, or column names that cannot be told apart.
        UnknownKey, RevokedKey: a key is not held, or was revoked.
        StorageUnavailable: disk full, permission, I/O.
    """
    kms = TableKms(keys.keyset, keys.table)
    config = _configuration(schema, keys, kms)
    factory = pe.CryptoFactory(lambda _connection: kms)
    groups = _row_groups(batches, schema, sizes)
    group: pa.Table | None = next(groups, schema.empty_table())
    listed: list[ListedFile] = []
    token = secrets.token_hex(4)
    while group is not None:
        name = f"part-{len(listed):05d}-{token}.zstd.parquet"
        with translated(kms, name):
            properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), config)
            with (
                (folder / name).open("xb") as file,
                TailRecorder(file) as sink,
                pq.ParquetWriter(
                    pa.PythonFile(sink, mode="w"),
                    schema,
                    compression="zstd",
                    encryption_properties=properties,
                ) as writer,
            ):
                count = 0
                while group is not None and count < sizes.file_row_groups and sink.tell() < sizes.file_bytes:
                    writer.write_table(group, row_group_size=max(1, group.num_rows))
                    count += 1
                    group = None  # not two of them in memory
                    group = next(groups, None)
                sink.record()
        tail = sink.tail()
        listed.append(ListedFile(path=name, size=tail.size, binding=tail.binding))
    return sorted(listed, key=lambda file: file.path)


def _configuration(schema: pa.Schema, keys: TableKeys, kms: TableKms) -> pe.EncryptionConfiguration:
    if len(set(schema.names)) != len(schema.names):
        raise Misuse("the table has two columns of the same name")
    footer = kms.current(keys.key)
    return pe.EncryptionConfiguration(  # type: ignore[call-arg]  # the stubs are behind pyarrow
        footer_key=footer,
        column_keys=_column_keys(schema.names, keys, kms) if keys.columns else None,  # type: ignore[arg-type]  # same
        uniform_encryption=not keys.columns,
        encryption_algorithm="AES_GCM_V1",
        plaintext_footer=False,
        double_wrapping=False,
        internal_key_material=True,
        data_key_length_bits=256,
    )


def _column_keys(names: list[str], keys: TableKeys, kms: TableKms) -> dict[str, list[str]]:
    """Return identifier -> columns, with every column of the schema: one left out would stay in clear."""
    unknown = sorted(set(keys.columns) - set(names))
    if unknown:
        raise Misuse(f"no such column to give a key: {', '.join(unknown)}")
    for name in names:
        if name != name.strip() or not name or any(mark in name for mark in ",;:"):
            raise Misuse(
                f"column {name!r}: a table with column keys has no ',', ';', ':' or outer spaces in names"
            )
    for name in names:
        parts = name.split(".")
        if any(".".join(parts[:i]) in names for i in range(1, len(parts))):
            raise Misuse(f"column {name!r} cannot be told from a field of another column")
    columns: dict[str, list[str]] = {}
    for name in names:
        columns.setdefault(kms.current(keys.columns.get(name, keys.key)), []).append(name)
    return columns


def _row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema, sizes: FileSizes) -> Iterator[pa.Table]:
    """Collect batches into tables of about a row group's size; large batches are cut."""
    pending: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        for piece in _pieces(batch, sizes):
            pending.append(piece)
            rows, size = rows + piece.num_rows, size + piece.nbytes
            if rows >= sizes.row_group_rows or size >= sizes.row_group_bytes:
                yield pa.Table.from_batches(pending, schema)
                pending, rows, size = [], 0, 0
    if rows:
        yield pa.Table.from_batches(pending, schema)


def _pieces(batch: pa.RecordBatch, sizes: FileSizes) -> Iterator[pa.RecordBatch]:
    rows = batch.num_rows
    step = min(sizes.row_group_rows, max(1, rows * sizes.row_group_bytes // max(1, batch.nbytes)))
    for start in range(0, rows, step):
        yield batch.slice(start, step)
