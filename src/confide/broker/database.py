"""What a store asks of its database: transactions that nest, statements, rows. One dialect for all of them.

Statements are written once, in the SQL that SQLite and PostgreSQL share, with `?` for values. The few places
where the two differ are methods here.

One connection behind one re-entrant lock, shared by a process's threads: writers follow one another anyway,
reads are single rows, and a single connection cannot deadlock with itself. Transactions of different processes
follow one another too (`_begin`), so that each sees everything that the ones before it did.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from confide.broker.schema import MIGRATIONS
from confide.errors import Conflict, InvalidFormat


class Cursor(Protocol):
    """The part of a DB-API cursor (PEP 249) that is used."""

    @property
    def rowcount(self) -> int:
        """Number of rows changed."""

    def fetchone(self) -> Any:
        """Return the next row, None after the last."""

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""


class Database(ABC):
    """A connection with transactions that nest, and with the driver's errors translated."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0

    def migrate(self) -> None:
        """Bring the schema to the newest version, in one transaction; an empty database gets all of it.

        Raises:
            InvalidFormat: the store is of a newer version than this program knows.
        """
        with self.transaction():
            version = self.version()
            if version > len(MIGRATIONS):
                raise InvalidFormat(f"store of version {version}; this program knows up to {len(MIGRATIONS)}")
            for script in MIGRATIONS[version:]:
                for statement in filter(str.strip, script.split(";")):
                    self.run(self._definition(statement))
            self._set_version(len(MIGRATIONS))

    def bring_up_to_date(self) -> None:
        """Migrate where that is needed, and only then take the lock of a writer.

        Raises:
            InvalidFormat: the store is of a newer version than this program knows.
        """
        if self.version() != len(MIGRATIONS):
            self.migrate()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block all or nothing; inner transactions join the outermost, which commits.

        An exception anywhere rolls back everything, also where an outer block catches it: such a block
        cannot commit the half that came before.

        Raises:
            Conflict: another process keeps the database locked.
            StorageUnavailable: disk full, I/O error, server down.
        """
        with self._lock:
            if self._depth:
                yield from self._joined()
                return
            try:
                self._begin()
                yield from self._joined()
                with self._translated():
                    self._check_whole()
                    self._commit()
            except BaseException:
                self._rollback()
                raise

    def _joined(self) -> Iterator[None]:
        self._depth += 1
        try:
            yield
        except BaseException:
            self._rollback()
            raise
        finally:
            self._depth -= 1

    def _check_whole(self) -> None:
        if not self._in_transaction():
            raise Conflict("a part of the transaction failed")

    def run(self, statement: str, *values: Any) -> int:
        """Run a statement that changes something, inside a transaction; return the number of rows changed."""
        with self._lock, self._translated():
            self._check_whole()
            return self._execute(statement, values).rowcount

    def run_for_each(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement that changes something with each row of values, inside a transaction."""
        with self._lock, self._translated():
            self._check_whole()
            self._execute_many(statement, rows)

    def row(self, query: str, *values: Any) -> Any:
        """Return the first row of a query as a tuple, or None."""
        with self._lock, self._translated():
            return self._execute(query, values).fetchone()

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return every row of a query as tuples. A change with RETURNING is a query too, and can stand alone."""
        with self._lock, self._translated():
            return self._execute(query, values).fetchall()

    @abstractmethod
    def version(self) -> int:
        """Return the version of the schema; 0 where there is no store."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; what was committed is kept already."""

    @abstractmethod
    def idle(self) -> bool:
        """Return whether a statement would be answered at once, waiting for no thread and no network."""

    @abstractmethod
    def forget_erased(self) -> None:
        """After the present transaction, leave as little as possible of what it overwrites."""

    @abstractmethod
    def json_condition(
        self, column: str, path: Sequence[str], operator: str, value: str | int
    ) -> tuple[str, Any]:
        """Return the condition that the JSON text in `column` has at `path` what `operator` finds, and its value.

        Args:
            column: a column of a table.
            path: names of members, none of them from outside unless it is an identifier.
            operator: `=`, `<` or `>=`.
            value: the right side.
        """

    @abstractmethod
    def _set_version(self, version: int) -> None: ...

    @abstractmethod
    def _definition(self, statement: str) -> str:
        """Return a statement of the schema in this database's words."""

    @abstractmethod
    def _begin(self) -> None:
        """Begin the one transaction that may be open on this database, on all machines."""

    @abstractmethod
    def _in_transaction(self) -> bool: ...

    @abstractmethod
    def _commit(self) -> None: ...

    @abstractmethod
    def _rollback(self) -> None:
        """Roll back if there is something to; never raises."""

    @abstractmethod
    def _execute(self, statement: str, values: Sequence[Any]) -> Cursor: ...

    @abstractmethod
    def _execute_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None: ...

    @abstractmethod
    def _translated(self) -> AbstractContextManager[None]:
        """Return a context that raises the driver's errors as the error tree's."""
