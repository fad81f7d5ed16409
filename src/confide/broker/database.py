"""One SQLite database, shared by a process's threads.

One connection behind one re-entrant lock: SQLite writes one transaction at a time anyway, reads here are
single rows, and a single connection cannot deadlock with itself. Other processes (the command line beside an
embedded broker) are kept apart by SQLite's own locks, waited for up to `BUSY_TIMEOUT_MS`.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from confide.broker.schema import APPLICATION_ID, MIGRATIONS
from confide.errors import AlreadyExists, Conflict, InvalidFormat, StorageUnavailable

BUSY_TIMEOUT_MS: Final = 10_000


class Database:
    """A connection with transactions that nest, and with SQLite's errors translated."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._lock = threading.RLock()
        self._depth = 0
        self._erased = False

    @classmethod
    def create(cls, path: Path) -> Database:
        """Make an empty database, mode 0600, with the newest schema.

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
        database = cls(connection)
        database.migrate()
        return database

    @classmethod
    def open(cls, path: Path) -> Database:
        """Open a database, migrating it where it is older.

        Raises:
            InvalidFormat: not a store, or one of a newer version.
            StorageUnavailable: it cannot be read.
        """
        if not path.is_file():
            raise StorageUnavailable(f"no store at {path}")
        with _translated():
            connection = _connect(path)
            (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application != APPLICATION_ID:
            connection.close()
            raise InvalidFormat(f"{path} is not a store")
        database = cls(connection)
        if (len(MIGRATIONS),) != database.row("PRAGMA user_version"):
            database.migrate()
        return database

    def migrate(self) -> None:
        """Bring the schema to the newest version, in one transaction.

        Raises:
            InvalidFormat: the store is of a newer version than this program knows.
        """
        with self.transaction():
            (version,) = self.row("PRAGMA user_version") or (0,)
            if version > len(MIGRATIONS):
                raise InvalidFormat(f"store of version {version}; this program knows up to {len(MIGRATIONS)}")
            for script in MIGRATIONS[version:]:
                for statement in script.split(";"):
                    self.run(statement)
            self.run(f"PRAGMA user_version = {len(MIGRATIONS):d}")

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

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block all or nothing; inner transactions join the outermost, which commits.

        An exception anywhere rolls back everything, also where an outer block catches it: such a block
        cannot commit the half that came before.

        Raises:
            Conflict: another process keeps the database locked.
            StorageUnavailable: disk full, I/O error.
        """
        with self._lock:
            if self._depth:
                yield from self._joined()
                return
            with _translated():
                self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield from self._joined()
                self.run("COMMIT")
            except BaseException:
                self._erased = False
                self._rollback()
                raise
            if self._erased:
                self._empty_write_ahead_log()

    def _joined(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        except BaseException:
            self._rollback()
            raise
        finally:
            self._depth -= 1

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def run(self, statement: str, *values: Any) -> int:
        """Run a statement that changes something, inside a transaction; return the number of rows changed."""
        with self._lock, _translated():
            if not self._connection.in_transaction:
                raise Conflict("a part of the transaction failed")
            return self._connection.execute(statement, values).rowcount

    def row(self, query: str, *values: Any) -> Any:
        """Return the first row of a query as a tuple, or None."""
        with self._lock, _translated():
            return self._connection.execute(query, values).fetchone()

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return every row of a query as tuples."""
        with self._lock, _translated():
            return self._connection.execute(query, values).fetchall()

    def forget_erased(self) -> None:
        """After the present transaction, empty the write-ahead log, which still holds what it overwrites."""
        self._erased = True

    def _empty_write_ahead_log(self) -> None:
        """Best effort: another process that reads keeps the log alive, and what was committed stays committed."""
        self._erased = False
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


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
