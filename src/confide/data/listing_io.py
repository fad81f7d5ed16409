"""Listings and the files they name: bindings of open files, checks of a folder, the sealed copy on storage.

Format: docs/formats/listing.md.
"""

from __future__ import annotations

import hmac
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from pydantic import ValidationError

from confide.canonical import canonical_json
from confide.data.atomic import atomic_file, storage_errors
from confide.data.listing import MAX_LISTING_BYTES, Format, ListedFile, Listing
from confide.data.parquet_tail import read_tail
from confide.data.sealed import SealedReader, SealedWriter, read_header
from confide.errors import (
    FileChanged,
    FileMissing,
    FileUnlisted,
    InvalidFormat,
    Misuse,
    NotEncrypted,
    Tampered,
)
from confide.keys.material import Keyset
from confide.keys.names import KeyName, KeyVersion

LISTING_NAME = "_confide.listing"
MAX_JWS_BYTES = MAX_LISTING_BYTES * 4 // 3 + 64 * 1024

Jws: TypeAlias = dict[str, Any]
Progress: TypeAlias = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""
Sign: TypeAlias = Callable[[Listing], Jws]
"""Signs a listing as its owner."""
Verify: TypeAlias = Callable[[Jws], bytes]
"""Checks a signed listing and returns its payload, or raises PolicyRefused or SignatureRefused."""


def list_file(path: str, file: BinaryIO, kind: Format) -> ListedFile:
    """Return the listing's entry for an open, complete encrypted file called `path` in its location.

    Raises:
        NotEncrypted, InvalidFormat, Tampered: it is no file of that format.
    """
    if kind is Format.TABLE:
        binding = read_tail(file).binding
    else:
        file.seek(0)
        binding = read_header(file).binding
    return ListedFile(path=path, size=file.seek(0, os.SEEK_END), binding=binding)


def check_file(file: BinaryIO, listed: ListedFile, kind: Format) -> None:
    """Check size and binding of an open file against its entry.

    Raises:
        FileChanged: another size or binding.
        NotEncrypted: it is a plain file.
    """
    try:
        found = list_file(listed.path, file, kind)
    except NotEncrypted as error:
        raise NotEncrypted(f"{listed.path}: {error}") from None
    except (InvalidFormat, Tampered) as error:
        raise FileChanged(f"{listed.path}: {error}") from None
    if found.size != listed.size:
        raise FileChanged(f"{listed.path} has {found.size} bytes, listed are {listed.size}")
    if not hmac.compare_digest(found.binding, listed.binding):
        raise FileChanged(f"{listed.path} is another file than the listed one")


def check_folder(folder: Path, listing: Listing) -> None:
    """Check that `folder` holds exactly the files of `listing`, each with its size and binding.

    Files and folders whose names begin with `_` or `.` are not looked at, unless the listing names them.

    Raises:
        FileMissing, FileChanged, FileUnlisted: with the file's name.
        NotEncrypted: a plain file in place of a listed one.
        StorageUnavailable: the folder cannot be read.
    """
    listed = {file.path for file in listing.files}
    for file in listing.files:
        with open_listed(folder, file.path) as opened:
            check_file(opened, file, listing.format)
    with storage_errors(f"cannot list {folder}"):
        for path in _files_of(folder):
            if path not in listed:
                raise FileUnlisted(f"{path} is not in the listing")


def open_listed(folder: Path, path: str) -> BinaryIO:
    """Open a listed file for reading.

    Raises:
        FileMissing: it is not there.
        StorageUnavailable: it cannot be opened.
    """
    with storage_errors(f"cannot read {path}"):
        try:
            return Path(folder, path).open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise FileMissing(f"{path} is listed but not there") from None


def write_copy(folder: Path, listing: Listing, jws: Jws, keyset: Keyset) -> None:
    """Write the signed listing, sealed, as `_confide.listing` into its location (replacing an older one).

    Raises:
        UnknownKey, RevokedKey: the listing's key is not held, or was revoked.
        StorageUnavailable: it cannot be written.
    """
    with (
        atomic_file(folder / LISTING_NAME, overwrite=True) as file,
        SealedWriter(file, keyset, KeyName.parse(listing.key), listing.table) as writer,
    ):
        writer.write(canonical_json(jws))


def read_copy(folder: Path, keyset: Keyset, verify: Verify) -> Listing:
    """Read the sealed copy of a location's listing and check its signature with `verify`.

    Raises:
        FileMissing: there is no copy.
        FileChanged: the copy was sealed for another table, or with another key than the listing's.
        InvalidFormat: no signed listing in it.
        NotEncrypted, Tampered, UnknownKey, RevokedKey: from the sealed file.
    """
    with open_listed(folder, LISTING_NAME) as file, SealedReader(file, keyset) as reader:
        if reader.size > MAX_JWS_BYTES:
            raise InvalidFormat(f"{LISTING_NAME} is larger than {MAX_JWS_BYTES} bytes")
        header, document = reader.header, reader.readall()
    try:
        jws = json.loads(document)
    except ValueError:
        raise InvalidFormat(f"{LISTING_NAME} holds no JSON") from None
    if not isinstance(jws, dict):
        raise InvalidFormat(f"{LISTING_NAME} holds no signed listing")
    listing = parse_listing(verify(jws))
    if header.folder != listing.table or str(KeyVersion.parse(header.key).key) != listing.key:
        raise FileChanged(f"{LISTING_NAME} belongs to another table")
    return listing


def parse_listing(document: bytes) -> Listing:
    """Parse a listing from its canonical JSON.

    Raises:
        InvalidFormat: not a listing, too large, or not canonical.
    """
    if len(document) > MAX_LISTING_BYTES:
        raise InvalidFormat(f"a listing has at most {MAX_LISTING_BYTES} bytes")
    try:
        listing = Listing.from_json(document)
    except (ValidationError, Misuse):
        raise InvalidFormat("not a listing") from None
    if listing.canonical() != document:
        raise InvalidFormat("the listing is not canonical JSON")
    return listing


def _files_of(folder: Path) -> Iterator[str]:
    """Yield what lies in `folder`, by relative path; symbolic links to folders count as files."""
    for parent, folders, files in os.walk(folder):
        base = Path(parent).relative_to(folder)
        links = [name for name in folders if Path(parent, name).is_symlink()]
        folders[:] = [name for name in folders if not name.startswith(("_", ".")) and name not in links]
        for name in [*files, *links]:
            if not name.startswith(("_", ".")):
                yield (base / name).as_posix()
