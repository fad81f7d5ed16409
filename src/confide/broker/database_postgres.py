"""A store in a PostgreSQL database, which several brokers may share.

A transaction holds an advisory lock until it ends, so that transactions of all brokers follow one another, as
they do on SQLite. Each statement sees what was committed before it (READ COMMITTED), hence a transaction sees all
that the ones before it did. A broker that dies or hangs loses its connection, and with it lock and transaction.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any, Final, TypeVar

from confide.broker.database import Database
from confide.broker.schema import APPLICATION_ID, for_postgres
from confide.errors import Conflict, InvalidFormat, MissingDependency, Misuse, Refused, StorageUnavailable

try:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
    from psycopg.pq import TransactionStatus
except ImportError:
    raise MissingDependency("a store on PostgreSQL needs psycopg: pip install 'confide[postgres]'") from None

LOCK_TIMEOUT_S: Final = 10
CONNECT_TIMEOUT_S: Final = 5
PAUSE_S: Final = 1.0
"""For so long after a failed connection nobody tries again: requests are refused at once instead of queueing."""

_FORCED: Final[dict[str, str | int]] = {
    "sslmode": "verify-full",  # libpq ignores it on Unix sockets, and for nothing else
    "gssencmode": "disable",  # would take the place of TLS, without a look at the certificate
    "client_encoding": "utf8",
    "application_name": "confide",
    "connect_timeout": CONNECT_TIMEOUT_S,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,  # ms
}
_PASSWORDS: Final = ("password", "sslpassword")
_SESSION: Final = f"""
    SET standard_conforming_strings = on;
    SET lock_timeout = '{LOCK_TIMEOUT_S}s';
    SET statement_timeout = '60s';
    SET idle_in_transaction_session_timeout = '{LOCK_TIMEOUT_S}s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
"""
_BEGIN: Final = (
    f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({APPLICATION_ID:d})"
)
_NUL: Final = "\\u0000", "\\u0001"
"""PostgreSQL's JSON cannot hold the character NUL; searched for, it stands for the next one."""

_T = TypeVar("_T")


class PostgresDatabase(Database):
    """A connection to a database, made anew when the server comes back.

    Args:
        url: `postgresql://...` (libpq documentation, "Connection URIs").

    Raises:
        MissingDependency: psycopg is not installed.
        Misuse: a URL that cannot be one, or with a password in it.
        Refused: the way to the server is neither TLS nor a Unix socket.
        StorageUnavailable: the server cannot be reached, its certificate not be verified, or it lets us not in.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        check_url(url)
        self._url = url
        self._paused_until = 0.0
        self._closed = False
        self._connection = self._connect()

    def version(self) -> int:
        """Return the version that the store notes."""
        if self.row("SELECT to_regclass('meta')") == (None,):
            return 0
        row = self.row("SELECT value FROM meta WHERE name = 'version'")
        return int(row[0]) if row is not None else 0

    def _set_version(self, version: int) -> None:
        self.run(
            "INSERT INTO meta VALUES ('version', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            str(version).encode(),
        )

    def _definition(self, statement: str) -> str:
        return for_postgres(statement)

    def close(self) -> None:
        """Close the connection; what was committed is on the server's disk already."""
        with self._lock, _translated():
            self._closed = True
            self._connection.close()

    def idle(self) -> bool:
        """Return False: every statement waits for the network."""
        return False

    def forget_erased(self) -> None:
        """Do nothing: what is overwritten stays in the server's files until it reuses the place."""

    def json_condition(
        self, column: str, path: Sequence[str], operator: str, value: str | int
    ) -> tuple[str, Any]:
        """Return a condition on a member of a JSON text."""
        member = f"replace({column}, '{_NUL[0]}', '{_NUL[1]}')::jsonb #> '{{{','.join(path)}}}'"
        return f"{member} {operator} ?::jsonb", json.dumps(value).replace(*_NUL)

    def _begin(self) -> None:
        with _translated():
            self._afresh(lambda connection: connection.execute(_BEGIN, prepare=False))

    def _in_transaction(self) -> bool:
        return self._connection.info.transaction_status is TransactionStatus.INTRANS

    def _commit(self) -> None:
        if self._connection.execute("COMMIT").statusmessage != "COMMIT":
            raise Conflict("a part of the transaction failed")

    def _rollback(self) -> None:
        if self._connection.info.transaction_status is TransactionStatus.IDLE:
            return
        try:
            self._connection.execute("ROLLBACK")
        except psycopg.Error:
            self._connection.close()  # which rolls back too

    def _execute(self, statement: str, values: Sequence[Any]) -> psycopg.Cursor[Any]:
        def work(connection: psycopg.Connection[Any]) -> psycopg.Cursor[Any]:
            return connection.execute(_placeholders(statement), values)

        return work(self._connection) if self._depth else self._afresh(work)

    def _execute_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        # Not `executemany`: its pipeline ends in a message after which the server's timeout for idle transactions
        # does not run, and a broker that is cut off there would keep the lock.
        for row in rows:
            self._connection.execute(_placeholders(statement), row)

    def _translated(self) -> AbstractContextManager[None]:
        return _translated()

    def _afresh(self, work: Callable[[psycopg.Connection[Any]], _T]) -> _T:
        """Do what begins a transaction, or is one; once more on a new connection where the old one broke meanwhile."""
        if not self._connection.closed:
            try:
                return work(self._connection)
            except psycopg.OperationalError:
                if not self._connection.closed:
                    raise
        self._connection = self._connect()
        return work(self._connection)

    def _connect(self) -> psycopg.Connection[Any]:
        if self._closed:
            raise StorageUnavailable("the store is closed")
        if time.monotonic() < self._paused_until:
            raise StorageUnavailable("the database could not be reached a moment ago")
        try:
            with contextlib.ExitStack() as undo, _translated():
                connection = psycopg.connect(make_conninfo(self._url, **_FORCED), autocommit=True)
                undo.callback(connection.close)
                _check(connection)
                connection.execute(_SESSION)
                undo.pop_all()
                return connection
        except StorageUnavailable:
            self._paused_until = time.monotonic() + PAUSE_S
            raise


def check_url(url: str) -> None:
    """Return if `url` can name a store. It is never repeated in an error: it may hold what it must not.

    1. It is a URI that libpq reads.
    2. It holds no password, and neither does the environment: that stands in a password file, or a service file.
    3. It asks for nothing weaker than TLS with a verified name.

    Raises:
        Misuse: any of these fails.
    """
    try:
        parameters = conninfo_to_dict(url) if url.startswith(("postgresql://", "postgres://")) else None
    except psycopg.Error:
        parameters = None
    if parameters is None:
        raise Misuse("not a URL of a store: postgresql://USER@HOST/DATABASE")
    if any(name in parameters for name in _PASSWORDS) or "PGPASSWORD" in os.environ:
        raise Misuse(
            "a store's password stands neither in its URL nor in the environment: put it into ~/.pgpass (mode "
            "0600), or into the file that passfile= or service= names"
        )
    for name in ("sslmode", "gssencmode"):
        if parameters.get(name, _FORCED[name]) != _FORCED[name]:
            raise Misuse(f"{name} of a store's URL is {_FORCED[name]}, or left out")


def _check(connection: psycopg.Connection[Any]) -> None:
    if not connection.pgconn.ssl_in_use and not connection.info.host.startswith(("/", "@")):
        raise Refused("the connection to the database is neither TLS nor a Unix socket")
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise Misuse(f"the database's encoding is {encoding}, not UTF8")


@lru_cache(maxsize=512)
def _placeholders(statement: str) -> str:
    return statement.replace("%", "%%").replace("?", "%s")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (
        psycopg.errors.LockNotAvailable,
        psycopg.errors.SerializationFailure,
        psycopg.errors.DeadlockDetected,
    ):
        raise Conflict("the store is locked by another broker") from None
    except psycopg.IntegrityError as error:
        raise Conflict(f"the store refuses: {_first_line(error)}") from None
    except psycopg.errors.InFailedSqlTransaction:
        raise Conflict("a part of the transaction failed") from None
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
        raise InvalidFormat(f"not a store: {_first_line(error)}") from None
    except psycopg.DataError as error:
        raise InvalidFormat(f"the store does not take this: {_first_line(error)}") from None
    except psycopg.Error as error:
        raise StorageUnavailable(f"the database cannot be used: {_first_line(error)}") from None


def _first_line(error: psycopg.Error) -> str:
    """Return what PostgreSQL says first; further lines may quote the statement."""
    return (str(error) or type(error).__name__).splitlines()[0]
