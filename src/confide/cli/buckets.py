"""Targets and sources in S3 (`s3a://bucket/path`): what a command makes is uploaded, what it reads is downloaded first.

Only encrypted files pass, into a temporary folder and out of it. Credentials and region are found as AWS's own tools
find them, and `AWS_ENDPOINT_URL` names another store that speaks S3.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confide.errors import AlreadyExists, FileChanged, Misuse, NotEncrypted, StorageUnavailable

_CHUNK_BYTES = 1 << 20
_SCHEMES = ("s3a", "s3")
"""Hadoop's name, and AWS's, of the same."""


def in_bucket(place: str) -> bool:
    """Return whether a target or source lies in S3.

    Raises:
        Misuse: it is the URI of another store.
    """
    scheme, separator, _ = place.partition("://")
    if separator and scheme not in _SCHEMES:
        raise Misuse(
            f"{place}: only s3a:// is reached from here; give a folder, and say with --location how policies call it"
        )
    return bool(separator)


@contextlib.contextmanager
def target_folder(place: str, *, replace: bool) -> Iterator[Path]:
    """Yield the folder to make; one in S3 is temporary, and uploaded when the block ends without an exception.

    Args:
        place: a local path, or a URI.
        replace: what lies in S3 already is replaced; else it is an error. Locally that is looked at by who writes.

    Raises:
        AlreadyExists: something lies there.
        StorageUnavailable: it cannot be reached, or refuses.
    """
    if not in_bucket(place):
        yield Path(place)
        return
    from pyarrow.fs import LocalFileSystem, copy_files

    with _bucket(place) as (store, path):
        old = _files(store, path)
        if old and not replace:
            raise AlreadyExists(f"{place} exists already")
    with tempfile.TemporaryDirectory(prefix="confide-") as temporary:
        folder = Path(temporary, "new")
        yield folder
        with _bucket(place) as (store, path):
            copy_files(str(folder), path, source_filesystem=LocalFileSystem(), destination_filesystem=store)
            new = {f"{path}/{file.relative_to(folder).as_posix()}" for file in folder.rglob("*")}
            for name in old - new:
                store.delete_file(name)


@contextlib.contextmanager
def source_folder(place: str) -> Iterator[Path]:
    """Yield the folder to read; one in S3 is downloaded first, and the copy deleted afterwards.

    Raises:
        NotEncrypted: nothing lies there.
        StorageUnavailable: it cannot be reached, or refuses.
    """
    if not in_bucket(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory(prefix="confide-") as temporary:
        folder = Path(temporary, "copy")
        with _bucket(place) as (store, path):
            names = _files(store, path)
            if not names:
                raise NotEncrypted(f"nothing lies at {place}")
            for name in names:
                _download(store, name, folder / _relative(name, path))
        yield folder


@contextlib.contextmanager
def _bucket(place: str) -> Iterator[tuple[Any, str]]:
    from pyarrow.fs import S3FileSystem

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    try:
        yield S3FileSystem(endpoint_override=endpoint), place.partition("://")[2]
    except OSError as error:
        raise StorageUnavailable(f"{place}: {error}") from None


def _files(store: Any, path: str) -> set[str]:
    from pyarrow.fs import FileSelector

    found = store.get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
    return {file.path for file in found if file.is_file}


def _relative(name: str, path: str) -> str:
    """Return the name of a file within its location; a store may say any name, such as one that leads elsewhere.

    Raises:
        FileChanged: a name that no listing holds.
    """
    from pydantic import ValidationError

    from confide.data.listing import ListedFile

    relative = name.removeprefix(path + "/")
    try:
        ListedFile(path=relative, size=0, binding="0" * 64)
    except ValidationError:
        raise FileChanged(f"no listing names a file {name!r}") from None
    return relative


def _download(store: Any, name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with store.open_input_stream(name) as stored, target.open("xb") as file:
        shutil.copyfileobj(stored, file, _CHUNK_BYTES)
