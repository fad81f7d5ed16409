"""Copies of a store's file, as they are brought from another machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from confide.broker.database_sqlite import SqliteDatabase
from confide.errors import InvalidFormat, StorageUnavailable

_LOG = "-wal"


def copy_store(source: Path, target: Path) -> None:
    """Copy the file of a store that no process has open, and the write-ahead log that may lie beside it.

    Args:
        source: the file, which is left as it is.
        target: the new file, mode 0600.

    Raises:
        InvalidFormat: not a store, or not a whole one: it was in use when it was copied.
        StorageUnavailable: it cannot be read or written.
    """
    if not source.is_file():
        raise StorageUnavailable(f"no store at {source}")
    try:
        _copy(source, target)
        if (log := source.with_name(source.name + _LOG)).is_file():
            _copy(log, target.with_name(target.name + _LOG))
    except OSError as error:
        raise StorageUnavailable(f"cannot copy the store {source}: {error.strerror}") from None
    database = SqliteDatabase.open(target)
    try:
        if database.rows("PRAGMA integrity_check") != [("ok",)]:
            raise InvalidFormat(f"{source} is not a whole store: copy it while no process has it open")
    finally:
        database.close()


def _copy(source: Path, target: Path) -> None:
    with (
        source.open("rb") as said,
        os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
    ):
        shutil.copyfileobj(said, file, 1024 * 1024)
        file.flush()
        os.fsync(file.fileno())
