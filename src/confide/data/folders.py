"""Sealing and opening whole files and folder trees of any kind, in constant memory."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from pydantic import ValidationError

from confide.data.atomic import SteadyFile, atomic_file, atomic_folder, storage_errors
from confide.data.listing import MAX_FILES, TABLE_ID_BYTES, Format, ListedFile, Listing
from confide.data.listing_io import LISTING_NAME, Progress, Sign, check_folder, open_listed, write_copy
from confide.data.sealed import SealedReader, SealedWriter
from confide.errors import ConfideError, Misuse
from confide.keys.material import Keyset
from confide.keys.names import KeyName

CHUNK_BYTES = 1 << 20


def encrypt_files(
    source: Path,
    target: Path,
    keyset: Keyset,
    key: KeyName,
    *,
    location: str,
    serial: int = 1,
    folder_id: str | None = None,
    sign: Sign | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Listing:
    """Seal a file, or every file of a folder tree, into a new folder; it appears whole or not at all.

    Names and folders stay as they are, also those that begin with a dot; empty folders are left out.

    Args:
        source: a file, or a folder.
        target: the new location, a folder in either case.
        keyset: holds `key`.
        key: key of every file.
        location: `target` in the policy's words.
        serial: of the listing.
        folder_id: id of the folder; None makes a new one.
        sign: if given, the signed listing is written into the folder as well.
        overwrite: replace what `target` holds.
        progress: told how many bytes of the source are done.

    Returns:
        The listing of the new location.

    Raises:
        Misuse: symbolic links, devices, names that are not UTF-8, too many files, nothing there.
        AlreadyExists: `target` is there, and `overwrite` was not given.
        UnknownKey, RevokedKey: the key is not held, or was revoked.
        StorageUnavailable: disk full, permission, I/O; nothing is left behind.
    """
    names = sorted(_names(source))
    base = source if source.is_dir() else source.parent
    with storage_errors(f"cannot read {source.name}"):
        meter = _Meter(progress, sum((base / name).stat().st_size for name in names))
    folder_id = folder_id or secrets.token_hex(TABLE_ID_BYTES)
    with atomic_folder(target, overwrite=overwrite) as folder:
        files = []
        for name in names:
            with _open_plain(base / name) as plain:
                files.append(_seal(plain, folder, name, keyset, key, folder_id, meter))
        listing = Listing(
            table=folder_id,
            owner=key.owner,
            location=location,
            format=Format.FILES,
            serial=serial,
            key=str(key),
            files=tuple(files),
        )
        if sign is not None:
            write_copy(folder, listing, sign(listing), keyset)
    return listing


def decrypt_files(
    folder: Path,
    listing: Listing,
    keyset: Keyset,
    target: Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Open every sealed file of a location into a new folder, readable by its owner only.

    Raises:
        FileMissing, FileChanged, FileUnlisted, Tampered, NotEncrypted: the location is not what the listing says.
        Misuse: the listing of a table.
        AlreadyExists: `target` is there, and `overwrite` was not given.
        UnknownKey, RevokedKey: the key is not held, or was revoked.
        StorageUnavailable: disk full, permission, I/O; nothing is left behind.
    """
    _check_format(listing)
    check_folder(folder, listing)
    meter = _Meter(progress, sum(file.size for file in listing.files))
    with atomic_folder(target, overwrite=overwrite) as out:
        out.chmod(0o700)
        for listed in listing.files:
            path = out / listed.path
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(descriptor, "wb", buffering=0) as plain:  # noqa: PTH123  # no Path for a descriptor
                _open_sealed(folder, listed, listing, keyset, plain, meter)


def decrypt_file(
    folder: Path, listing: Listing, name: str, keyset: Keyset, target: Path, *, overwrite: bool = False
) -> None:
    """Open one sealed file of a location, called `name` in its listing. Raises as `decrypt_files`."""
    _check_format(listing)
    listed = next((file for file in listing.files if file.path == name), None)
    if listed is None:
        raise Misuse(f"no such file in the listing: {name}")
    with atomic_file(target, overwrite=overwrite, mode=0o600) as plain:
        _open_sealed(folder, listed, listing, keyset, plain, _Meter(None, 0))


def file_digests(folder: Path, listing: Listing, keyset: Keyset) -> dict[str, str]:
    """Return path -> SHA-256 (hex) of the plaintext of every sealed file of a location. Raises as `decrypt_files`."""
    _check_format(listing)
    check_folder(folder, listing)
    digests = {}
    for listed in listing.files:
        digest = hashlib.sha256()
        with _sealed(folder, listed, listing, keyset) as reader:
            for chunk in _chunks(reader):
                digest.update(chunk)
        digests[listed.path] = digest.hexdigest()
    return digests


class _Meter:
    """Adds up what is done for a progress callback."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def add(self, count: int) -> None:
        self._done = min(self._done + count, self._total)
        if self._progress is not None:
            self._progress(self._done, self._total)


def _seal(
    plain: BinaryIO, folder: Path, name: str, keyset: Keyset, key: KeyName, folder_id: str, meter: _Meter
) -> ListedFile:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb", buffering=0) as out:
        with SealedWriter(cast("BinaryIO", SteadyFile(out)), keyset, key, folder_id) as writer:
            while count := writer.write_from(plain):
                meter.add(count)
        return ListedFile(path=name, size=writer.sealed_bytes, binding=writer.binding)


def _open_sealed(
    folder: Path, listed: ListedFile, listing: Listing, keyset: Keyset, plain: BinaryIO, meter: _Meter
) -> None:
    with _sealed(folder, listed, listing, keyset) as reader:
        for chunk in _chunks(reader):
            plain.write(chunk)
            meter.add(len(chunk))


@contextmanager
def _sealed(folder: Path, listed: ListedFile, listing: Listing, keyset: Keyset) -> Iterator[SealedReader]:
    """Open a listed file; errors, of the block too, name it."""
    with open_listed(folder, listed.path) as file:
        try:
            with SealedReader(
                file, keyset, expected_folder=listing.table, expected_binding=listed.binding
            ) as reader:
                yield reader
        except ConfideError as error:
            raise type(error)(f"{listed.path}: {error}") from None


def _chunks(file: BinaryIO | SealedReader) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(CHUNK_BYTES))
    while count := file.readinto(buffer):  # type: ignore[union-attr]  # BinaryIO lacks it, every file has it
        yield buffer[:count]


def _check_format(listing: Listing) -> None:
    if listing.format is not Format.FILES:
        raise Misuse("not the listing of sealed files")


def _open_plain(path: Path) -> BinaryIO:
    """Open a file to seal; a link that took its place meanwhile is not followed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return open(descriptor, "rb", buffering=0)  # noqa: PTH123  # no Path for a descriptor


def _names(source: Path) -> list[str]:
    """Return the files below `source` by relative path. Raises Misuse."""
    if source.is_symlink():
        raise Misuse(f"{source.name} is a symbolic link")
    if source.is_dir():
        names = list(_walk(source))
    elif source.is_file():
        names = [source.name]
    elif source.exists():
        raise Misuse(f"{source.name} is neither a file nor a folder")
    else:
        raise Misuse(f"no such file or folder: {source}")
    if len(names) > MAX_FILES:
        raise Misuse(f"{source.name} holds more than {MAX_FILES} files")
    for name in names:
        check_name(name)
    return names


def _walk(source: Path) -> Iterator[str]:
    def fail(error: OSError) -> None:
        raise error

    with storage_errors(f"cannot list {source.name}"):
        for parent, folders, files in os.walk(source, onerror=fail):
            for name in [*folders, *files]:
                path = Path(parent, name)
                if path.is_symlink():
                    raise Misuse(f"{path.relative_to(source)} is a symbolic link")
                if name in files:
                    if not path.is_file():
                        raise Misuse(f"{path.relative_to(source)} is not a regular file")
                    yield path.relative_to(source).as_posix()


def check_name(name: str) -> None:
    """Return if a listing may hold a file of this name.

    Raises:
        Misuse: it may not.
    """
    try:
        name.encode()
        ListedFile(path=name, size=0, binding="0" * 64)
    except (UnicodeEncodeError, ValidationError):
        raise Misuse(f"a file's name that a listing cannot hold: {name!r}") from None
    if name == LISTING_NAME:
        raise Misuse(f"{LISTING_NAME} is the listing's own name")
