"""Files and folders that appear whole under their name, or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from confide.errors import AlreadyExists, Misuse, StorageUnavailable

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_STEADY_BYTES = 8 * 1024 * 1024


@contextmanager
def storage_errors(what: str) -> Iterator[None]:
    """Turn the operating system's errors into StorageUnavailable, naming `what` was being done."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        where = f": {error.filename}" if error.filename is not None else ""
        raise StorageUnavailable(f"{what}: {reason}{where}") from error


@contextmanager
def atomic_file(path: Path, *, overwrite: bool = False, mode: int = 0o666) -> Iterator[BinaryIO]:
    """Open a new file beside `path`; it takes that name, synced, when the block ends without an exception.

    Args:
        path: final name.
        overwrite: replace a file of that name; else it is an error, also if one appears meanwhile.
        mode: permissions of the new file, less the umask.

    Raises:
        AlreadyExists: something of that name is there.
        StorageUnavailable: disk full, permission, I/O; nothing is left behind.
    """
    _refuse_existing(path, overwrite)
    temporary = _temporary(path)
    try:
        with storage_errors(f"cannot write {path.name}"):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
            with open(descriptor, "wb", buffering=0) as file:  # noqa: PTH123  # no Path for a descriptor
                yield file
                os.fsync(file.fileno())
            if overwrite:
                temporary.replace(path)
            else:
                _rename_new(temporary, path)
            sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Make a new folder beside `path`; it takes that name, synced, when the block ends without an exception.

    With `overwrite`, a folder of that name is moved aside first: for an instant neither is there, but never
    a mixture of both.

    Raises:
        AlreadyExists: something of that name is there.
        StorageUnavailable: disk full, permission, I/O; nothing is left behind.
    """
    _refuse_existing(path, overwrite)
    temporary = _temporary(path)
    try:
        with storage_errors(f"cannot write {path.name}"):
            temporary.mkdir()
            yield temporary
            _sync_tree(temporary)
            _replace_folder(temporary, path) if overwrite else _rename_new(temporary, path)
            sync_folder(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


class SteadyFile(io.RawIOBase):
    """Writes to an unbuffered file, and has the kernel write to the disk meanwhile.

    Else all of it waits for the sync at the end, when there is nothing left to do at the same time.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file, self._written, self._begun = file, 0, 0

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Write all of `data`."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._written += size
        if self._written - self._begun >= _STEADY_BYTES and hasattr(os, "posix_fadvise"):
            # Linux begins to write out the dirty pages of a range that is no longer needed, without waiting.
            length = self._written - self._begun
            os.posix_fadvise(self._file.fileno(), self._begun, length, os.POSIX_FADV_DONTNEED)
            self._begun = self._written
        return size


def open_beneath(root: Path, path: str) -> BinaryIO:
    """Open a regular file for reading that others may swap meanwhile: no symbolic link below `root` is followed.

    Args:
        root: a folder.
        path: relative to it, '/' between parts.

    Raises:
        Misuse: it is no regular file, or one on the way is no folder.
        OSError: it is not there, or cannot be read.
    """
    *folders, name = path.split("/")
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder in folders:
            below = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
            os.close(here)
            here = below
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=here)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO):
            raise Misuse(f"{path} is neither a folder nor a regular file") from None
        raise
    finally:
        os.close(here)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise Misuse(f"{path} is not a regular file")
    return open(file, "rb")  # noqa: PTH123  # no Path for a descriptor


def sync_folder(path: Path) -> None:
    """Make renames in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refuse_existing(path: Path, overwrite: bool) -> None:
    if not overwrite and (path.exists() or path.is_symlink()):
        raise AlreadyExists(f"{path} exists already")


def _temporary(path: Path) -> Path:
    return path.parent / f".confide-{secrets.token_hex(8)}.tmp"


def _rename_new(source: Path, target: Path) -> None:
    """Rename, but never onto something: hard links refuse that for files, rename does for full folders."""
    try:
        if source.is_dir():
            _refuse_existing(target, overwrite=False)
            source.rename(target)
            return
        try:
            target.hardlink_to(source)
        except PermissionError:  # a file system without hard links
            _refuse_existing(target, overwrite=False)
            source.rename(target)
    except (FileExistsError, NotADirectoryError):
        raise AlreadyExists(f"{target} exists already") from None


def _replace_folder(source: Path, target: Path) -> None:
    if not target.exists():
        source.rename(target)
        return
    old = _temporary(target)
    target.rename(old)
    try:
        source.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True) if old.is_dir() else old.unlink()


def _sync_tree(root: Path) -> None:
    for folder, _, files in os.walk(root):
        for name in files:
            descriptor = os.open(Path(folder, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        sync_folder(Path(folder))
