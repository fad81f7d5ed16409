"""Encrypt what a program left in an output: Parquet files become one table, other files are sealed each."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from confide.broker.release import Grant
from confide.data.atomic import open_beneath
from confide.data.folders import check_name
from confide.data.listing import ListedFile
from confide.data.parquet import TableKeys, write_table
from confide.data.sealed import SealedWriter
from confide.errors import InvalidFormat
from confide.keys.material import Keyset
from confide.keys.names import KeyName

_COPY_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Output:
    """One output on its way to storage.

    Attributes:
        grant: for writing there.
        keyset: holds its keys.
        table: id of the table or folder.
        view: where the program left its files, at paths that begin with the location.
        stage: folder for the encrypted files.
    """

    grant: Grant
    keyset: Keyset
    table: str
    view: Path
    stage: Path


def encrypt_table(output: Output, present: Sequence[str]) -> list[ListedFile]:
    """Encrypt all Parquet files that are `present` as one table.

    Raises:
        InvalidFormat: none, one that is not Parquet, or one with other columns than the first.
        Misuse: the policy gives a key to a column that the table does not have.
    """
    grant = output.grant
    plain = [path for path in present if not path.rpartition("/")[2].startswith(("_", "."))]
    if not plain:
        raise InvalidFormat(f"the program left no Parquet file in {grant.location}")
    columns = {column: KeyName.parse(key) for column, key in grant.columns.items()}
    keys = TableKeys(output.keyset, output.table, KeyName.parse(grant.key), columns)
    try:
        with open_beneath(output.view, plain[0]) as file:
            schema = pq.read_schema(file)
        return write_table(_batches(output.view, plain, schema), schema, output.stage, keys)
    except (pa.ArrowException, ValueError) as error:
        raise InvalidFormat(f"{grant.location}: not one Parquet table ({type(error).__name__})") from None


def encrypt_files(
    output: Output, present: Sequence[str], touched: frozenset[str], old: Mapping[str, ListedFile]
) -> list[ListedFile]:
    """Seal the files that were touched; of the others, take over what the old listing says.

    Raises:
        InvalidFormat: a file in the place of the folder.
        Misuse: a name that a listing cannot hold, or the listing's own.
    """
    prefix = output.grant.location + "/"
    key = KeyName.parse(output.grant.key)
    files = []
    for path in present:
        name = path.removeprefix(prefix)
        if name == path:
            raise InvalidFormat(f"{path} is a file; a location of sealed files is a folder")
        check_name(name)
        if path not in touched and name in old:
            files.append(old[name])
            continue
        target = output.stage / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            with (
                open_beneath(output.view, path) as plain,
                SealedWriter(file, output.keyset, key, output.table) as writer,
            ):
                shutil.copyfileobj(plain, writer, _COPY_BYTES)
            file.flush()
            os.fsync(file.fileno())
        # As it was written, not as storage shows it now.
        files.append(ListedFile(path=name, size=writer.sealed_bytes, binding=writer.binding))
    return sorted(files, key=lambda file: file.path)


def _batches(view: Path, plain: Sequence[str], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    for path in plain:
        with open_beneath(view, path) as opened, pq.ParquetFile(opened) as file:
            for batch in file.iter_batches():
                yield batch if batch.schema == schema else batch.cast(schema)
