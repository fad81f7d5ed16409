"""The store: everything a home remembers, in one database under one root key."""

from __future__ import annotations

import contextlib
import secrets as random
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from confide.broker.audit import AuditLog
from confide.broker.database import Database
from confide.broker.database_sqlite import SqliteDatabase
from confide.broker.store_collateral import CollateralRecords, StoredCollateral
from confide.broker.store_jobs import JobRecords
from confide.broker.store_keys import KeyRecords, KeySummary, VersionSummary
from confide.broker.store_listings import ListingRecords, StoredListing
from confide.broker.store_owners import OwnerRecords
from confide.broker.store_policies import PolicyRecords, StoredPolicy
from confide.errors import AlreadyExists, InvalidFormat, Refused
from confide.keys.material import SECRET_BYTES
from confide.keys.provider import KeyProvider
from confide.keys.recovery.documents import RecoverySet
from confide.keys.recovery.key import RecoveryPublicKey
from confide.keys.recovery.recover import split_root
from confide.keys.signing import generate_signing_key, private_key_from_raw, raw_private

__all__ = [
    "KeySummary",
    "Store",
    "StoredCollateral",
    "StoredListing",
    "StoredPolicy",
    "VersionSummary",
    "unix_now",
]

_AUDIT_KEY = ("audit-key", "checkpoints")
_STORE_ID_BYTES = 16


def unix_now() -> int:
    """Return the time in whole Unix seconds."""
    return int(time.time())


class Store(OwnerRecords, KeyRecords, PolicyRecords, ListingRecords, CollateralRecords, JobRecords):
    """Owners, keys, policies, listings, hosts, secrets, collateral, jobs and the audit log.

    One object serves all threads of a process; several processes may have the same store open, on PostgreSQL also
    on several machines. The store
    writes no audit entries by itself: a caller that changes something appends to `audit` inside the same
    `transaction()`, and both are kept or neither. A transaction holds the store's lock for its thread, so it
    must not span an `await`.

    Attributes:
        audit: the log.
    """

    def __init__(self, database: Database, root: bytes, clock: Callable[[], int]) -> None:
        super().__init__(database, root, clock)
        self.audit = AuditLog(database, private_key_from_raw(self.secret(*_AUDIT_KEY)), clock)

    @classmethod
    def create(cls, where: Path | str, provider: KeyProvider, clock: Callable[[], int] = unix_now) -> Store:
        """Make a store with a new root key, which `provider` protects.

        Args:
            where: path of a SQLite file, which is made, or URL of a PostgreSQL database; no store may be there yet.
            provider: wraps the root key.
            clock: Unix seconds; for what is dated.

        Raises:
            AlreadyExists: something lies there.
            Misuse: not a URL of a store, or a password in it.
            StorageUnavailable: it cannot be written, or reached.
        """
        root, store_id = random.token_bytes(SECRET_BYTES), random.token_bytes(_STORE_ID_BYTES)
        wrapped = provider.wrap(root, _root_context(store_id))
        with contextlib.ExitStack() as undo:
            database = _database(where, SqliteDatabase.create)
            undo.callback(database.close)
            with database.transaction():
                if database.version():
                    raise AlreadyExists("there is a store in this database already")
                database.migrate()
                database.run("INSERT INTO meta VALUES ('id', ?), ('root', ?)", store_id, wrapped)
                signing_key = raw_private(generate_signing_key())
                OwnerRecords(database, root, clock).put_secret(*_AUDIT_KEY, signing_key)
            store = cls(database, root, clock)
            undo.pop_all()
            return store

    @classmethod
    def open(cls, where: Path | str, provider: KeyProvider, clock: Callable[[], int] = unix_now) -> Store:
        """Open a store.

        Args:
            where: path of a SQLite file, or URL of a PostgreSQL database.
            provider: the one that protects its root key.
            clock: Unix seconds; for what is dated.

        Raises:
            Tampered: another provider's store, or its root key was changed.
            InvalidFormat: not a store, or one of a newer version.
            Misuse: not a URL of a store, or a password in it.
            StorageUnavailable: it cannot be read, or reached.
        """
        return cls._open(
            where, clock, lambda store_id, wrapped: provider.unwrap(wrapped, _root_context(store_id))
        )

    @classmethod
    def recover(
        cls,
        where: Path | str,
        provider: KeyProvider,
        root: bytes,
        store_id: str,
        clock: Callable[[], int] = unix_now,
    ) -> Store:
        """Open a store by its root key, and have another provider protect that from now on.

        1. It is the store whose root key it is said to be.
        2. The root key opens it.

        Args:
            where: as for `open`.
            provider: wraps the root key anew.
            root: 32 bytes.
            store_id: 32 hex digits.
            clock: Unix seconds; for what is dated.

        Raises:
            Refused: step 1 fails.
            Tampered: step 2 fails.
            InvalidFormat, Misuse, StorageUnavailable: as `open`.
        """

        def given(found: bytes, _: bytes) -> bytes:
            if found.hex() != store_id:
                raise Refused(
                    f"this root key is of the store {store_id}, and this is the store {found.hex()}"
                )
            return root

        with contextlib.ExitStack() as undo:
            store = cls._open(where, clock, given)
            undo.callback(store.close)
            with store.transaction():
                wrapped = provider.wrap(root, _root_context(bytes.fromhex(store_id)))
                store._database.run("UPDATE meta SET value = ? WHERE name = 'root'", wrapped)
                store._database.forget_erased()
            undo.pop_all()
            return store

    @classmethod
    def _open(
        cls, where: Path | str, clock: Callable[[], int], root_of: Callable[[bytes, bytes], bytes]
    ) -> Store:
        """Open a store; `root_of` gives the root key, from the store's id and the root key as it was wrapped."""
        with contextlib.ExitStack() as undo:
            database = _database(where, SqliteDatabase.open)
            undo.callback(database.close)
            if not database.version():
                raise InvalidFormat("there is no store in this database")
            database.bring_up_to_date()
            meta = dict(database.rows("SELECT name, value FROM meta"))
            if not {"id", "root"} <= meta.keys():
                raise InvalidFormat("the store was not made completely")
            store = cls(database, root_of(meta["id"], meta["root"]), clock)
            undo.pop_all()
            return store

    def share_root(self, threshold: int, owners: Mapping[str, RecoveryPublicKey]) -> RecoverySet:
        """Share the root key among owners, any `threshold` of whom can give it back (`split_root`)."""
        store_id = bytes(self._database.row("SELECT value FROM meta WHERE name = 'id'")[0])
        return split_root(self._root, store_id.hex(), threshold, owners)

    def close(self) -> None:
        """Close the database. What was committed is on disk already."""
        self._database.close()

    def idle(self) -> bool:
        """Return whether no other thread is at work here right now."""
        return self._database.idle()

    def transaction(self) -> AbstractContextManager[None]:
        """Return a context whose changes, audit entries included, are kept all or not at all.

        Transactions nest: the outermost commits, and a failure anywhere undoes everything.

        Raises:
            Conflict: another process keeps the store locked.
            StorageUnavailable: disk full, I/O error.
        """
        return self._database.transaction()


def _database(where: Path | str, sqlite: Callable[[Path], SqliteDatabase]) -> Database:
    if isinstance(where, Path):
        return sqlite(where)
    from confide.broker.database_postgres import PostgresDatabase  # needs an extra

    return PostgresDatabase(where)


def _root_context(store_id: bytes) -> bytes:
    return b"confide/v1/store-root/" + store_id.hex().encode()
