"""Decrypt declared inputs into the view: plain Parquet files and plain files, in the enclave's memory."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from confide.data.atomic import storage_errors
from confide.data.listing import Format, Listing
from confide.data.listing_io import check_folder, open_listed
from confide.data.parquet import EncryptedFile
from confide.data.sealed import SealedReader
from confide.errors import FileMissing
from confide.keys.material import Keyset
from confide.python.locations import Location
from confide.python.roll_forward import roll_forward
from confide.python.snapshot import Snapshot, snapshot

_COPY_BYTES = 1024 * 1024


def open_inputs(locations: Sequence[Location], keyset: Keyset, work: Path, view: Path) -> Snapshot:
    """Decrypt what the locations hold into `view`, and return what lies there then.

    Every file is checked against the broker's listing before any is opened. Of a table, columns whose key
    was not released are left out. Of a table that the program reads itself there is an empty folder.

    Raises:
        FileMissing: nothing was ever committed to an input, or a listed file is gone.
        FileUnlisted, FileChanged, Tampered, NotEncrypted: an input is not what was committed.
        UnknownKey, RevokedKey: a key is not held.
        StorageUnavailable: the scratch space is full.
    """
    for location in locations:
        target = view / location.path
        with storage_errors(f"cannot prepare {location.path}"):
            folder = target.parent if location.is_table and location.write else target
            folder.mkdir(parents=True, exist_ok=True)
        if location.write is not None and location.write.listing is not None:
            roll_forward(work / location.path, location.write.listing)
        listing = location.shown
        if listing is None:
            if location.read is not None:
                raise FileMissing(f"nothing was committed to {location.path}")
            continue
        source = work / location.path
        check_folder(source, listing)
        if location.streamed:
            continue
        with storage_errors(f"cannot decrypt {location.path}"):
            target.mkdir(parents=True, exist_ok=True)
            if listing.format is Format.TABLE:
                _open_table(location, listing, keyset, source, target)
            else:
                _open_files(listing, keyset, source, target)
    with storage_errors("cannot read what was decrypted"):
        return snapshot(view, lambda path: any(each.write and each.holds(path) for each in locations))


def _open_table(location: Location, listing: Listing, keyset: Keyset, source: Path, target: Path) -> None:
    for listed in listing.files:
        plain = target / listed.path
        plain.parent.mkdir(parents=True, exist_ok=True)
        with EncryptedFile(open_listed(source, listed.path), keyset, listing.table, listed) as file:
            schema = file.schema
            names = [name for name in schema.names if location.readable(name, listing.columns, listing.key)]
            for index in reversed(range(len(schema.names))):
                if schema.names[index] not in names:
                    schema = schema.remove(index)
            with pq.ParquetWriter(plain, schema, compression="snappy") as writer:
                for batch in file.batches(names):
                    writer.write_batch(batch)


def _open_files(listing: Listing, keyset: Keyset, source: Path, target: Path) -> None:
    for listed in listing.files:
        plain = target / listed.path
        plain.parent.mkdir(parents=True, exist_ok=True)
        with (
            open_listed(source, listed.path) as file,
            SealedReader(
                file, keyset, expected_folder=listing.table, expected_binding=listed.binding
            ) as reader,
            plain.open("xb") as out,
        ):
            shutil.copyfileobj(reader, out, _COPY_BYTES)
