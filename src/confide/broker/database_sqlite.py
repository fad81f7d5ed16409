"""A store in one SQLite file.

Other processes (the command line beside an embedded broker) are kept apart by SQLite's own locks, waited for
up to `BUSY_TIMEOUT_MS`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final

from confide.broker.database import Database
from confide.broker.schema import APPLICATION_ID
from confide.errors import AlreadyExists, Conflict, InvalidFormat, StorageUnavailable

BUSY_TIMEOUT_MS: Final = 10_000


class SqliteDatabase(Database):
    """A connection to a file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection
        self._erased = False

    @classmethod
    def create(cls, path: Path) -> SqliteDatabase:
        """Make an empty database, mode 0600, without a schema yet.

        Raises:
            AlreadyExists: something lies at `path`.
            StorageUnavailable: it cannot be written.
        """
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        except FileExistsError:
            raise AlreadyExists(f"{path} is there already") from None
        except OSError as error:
            raise StorageUnavailable(f"cannot make the store {path}: {error.strerror}") from None
        with _translated():
            connection = _connect(path)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")
            connection.execute("PRAGMA journal_mode = WAL")
        return cls(connection)

    @classmethod
    def open(cls, path: Path) -> SqliteDatabase:
        """Open a database.

        Raises:
            InvalidFormat: not a store.
            StorageUnavailable: it cannot be read.
        """
        if not path.is_file():
            raise StorageUnavailable(f"no store at {path}")
        with contextlib.ExitStack() as undo, _translated():
            connection = _connect(path)
            undo.callback(connection.close)
            if connection.execute("PRAGMA application_id").fetchone() != (APPLICATION_ID,):
                raise InvalidFormat(f"{path} is not a store")
            undo.pop_all()
        return cls(connection)

    def version(self) -> int:
        """Return SQLite's `user_version`."""
        return int(self.row("PRAGMA user_version")[0])

    def _set_version(self, version: int) -> None:
        self.run(f"PRAGMA user_version = {version:d}")

    def _definition(self, statement: str) -> str:
        return statement

    def close(self) -> None:
        """Close the connection; what was committed is on disk already."""
        with self._lock, _translated():
            self._connection.close()

    def idle(self) -> bool:
        """Return whether no other thread is using the connection right now."""
        free = self._lock.acquire(blocking=False)
        if free:
            self._lock.release()
        return free

    def forget_erased(self) -> None:
        """After the present transaction, empty the write-ahead log, which still holds what it overwrites."""
        self._erased = True

    def json_condition(
        self, column: str, path: Sequence[str], operator: str, value: str | int
    ) -> tuple[str, Any]:
        """Return a condition on a member of a JSON text."""
        return f"json_extract({column}, '$.{'.'.join(path)}') {operator} ?", value

    def _begin(self) -> None:
        with _translated():
            self._connection.execute("BEGIN IMMEDIATE")

    def _in_transaction(self) -> bool:
        return self._connection.in_transaction

    def _commit(self) -> None:
        self._connection.execute("COMMIT")
        if self._erased:
            self._erased = False
            with contextlib.suppress(sqlite3.Error):  # a reader keeps the log alive; the commit stands
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _rollback(self) -> None:
        self._erased = False
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _execute(self, statement: str, values: Sequence[Any]) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def _execute_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._connection.executemany(statement, rows)

    def _translated(self) -> AbstractContextManager[None]:
        return _translated()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS:d}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise Conflict("the store is locked by another process") from None
        raise StorageUnavailable(f"the store cannot be used: {error}") from None
    except sqlite3.IntegrityError as error:
        raise Conflict(f"the store refuses: {error}") from None
    except (sqlite3.ProgrammingError, sqlite3.InterfaceError) as error:
        raise StorageUnavailable(f"the store cannot be used: {error}") from None
    except sqlite3.DatabaseError as error:
        raise InvalidFormat(f"the store is damaged: {error}") from None
