"""The store of a home: one SQLite database. Interface first; the parts follow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from confide.broker.audit import AuditLog
from confide.data.listing import Listing
from confide.keys.material import NamedKey
from confide.keys.names import KeyName
from confide.keys.provider import KeyProvider


@dataclass(frozen=True)
class StoredPolicy:
    """An owner's newest policy: `jws` flattened JSON, `toml` its payload."""

    owner: str
    serial: int
    jws: dict[str, Any]
    toml: bytes


@dataclass(frozen=True)
class StoredListing:
    """The newest listing of a table, and the JWS that signs it."""

    listing: Listing
    jws: dict[str, Any]


@dataclass(frozen=True)
class VersionSummary:
    """One version of a key, without its secret; times are Unix seconds."""

    version: int
    created: int
    revoked: int | None


@dataclass(frozen=True)
class KeySummary:
    """A key without its secrets; `revoked` is set when the whole key was revoked."""

    name: KeyName
    current: int | None
    revoked: int | None
    versions: tuple[VersionSummary, ...]


class Store:
    """Everything a home remembers. Safe to share between threads; `transaction()` must not span an await.

    The store itself writes no audit entries: the caller appends them to `audit` in the same `transaction()`.
    """

    @classmethod
    def create(cls, path: Path, provider: KeyProvider, clock: Callable[[], int] | None = None) -> Store:
        """Make a new store. Raises AlreadyExists, StorageUnavailable."""
        raise NotImplementedError

    @classmethod
    def open(cls, path: Path, provider: KeyProvider, clock: Callable[[], int] | None = None) -> Store:
        """Open a store. Raises Tampered (wrong provider), InvalidFormat, StorageUnavailable."""
        raise NotImplementedError

    audit: AuditLog

    def close(self) -> None:
        """Close the database."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; nests (the outermost one commits)."""
        yield

    def put_owner(self, name: str, public_key: bytes) -> None:
        """Pin an owner's raw Ed25519 public key (32 bytes); the same again is fine, another SignatureRefused."""

    def owner(self, name: str) -> bytes:
        """Return the pinned key. Raises SignatureRefused if the owner is not known here."""
        raise NotImplementedError

    def owners(self) -> dict[str, bytes]:
        """Return every owner: name -> raw public key, sorted by name."""
        raise NotImplementedError

    def put_owner_signing_key(self, name: str, private_key: bytes) -> None:
        """Keep the owner's own private key (raw, 32 bytes) and pin its public key. Laptop only."""

    def owner_signing_key(self, name: str) -> bytes:
        """Return the raw private key. Raises UnknownKey."""
        raise NotImplementedError

    def create_key(self, name: KeyName) -> NamedKey:
        """Make version 1. Raises AlreadyExists."""
        raise NotImplementedError

    def rotate_key(self, name: KeyName) -> NamedKey:
        """Make the next version and make it current. Raises UnknownKey, RevokedKey (whole key revoked)."""
        raise NotImplementedError

    def revoke_key(self, name: KeyName, version: int | None = None) -> None:
        """Revoke one version, or the whole key; secrets are erased. Raises UnknownKey."""

    def put_key(self, key: NamedKey) -> None:
        """Take over an owner's key. Raises RevokedKey, Rollback, AlreadyExists (other secret), Misuse."""

    def key(self, name: KeyName) -> NamedKey:
        """Return the key with the secrets of its live versions. Raises UnknownKey."""
        raise NotImplementedError

    def keys(self, owner: str | None = None) -> list[KeySummary]:
        """Return summaries, sorted by name."""
        raise NotImplementedError

    def put_policy(self, owner: str, serial: int, jws: dict[str, Any], toml: bytes) -> None:
        """Keep the newest policy. Raises Rollback unless serial grows or the TOML is identical."""

    def policy(self, owner: str) -> StoredPolicy | None:
        """Return the newest policy of an owner."""
        raise NotImplementedError

    def policies(self) -> list[StoredPolicy]:
        """Return every owner's newest policy, sorted by owner."""
        raise NotImplementedError

    def commit_listing(self, listing: Listing, jws: dict[str, Any], base_serial: int) -> None:
        """Compare and set. Raises Conflict (stale base), Rollback, AlreadyExists (location of another table)."""

    def listing(self, owner: str, table: str) -> StoredListing | None:
        """Return the newest listing of a table."""
        raise NotImplementedError

    def listing_at(self, owner: str, location: str) -> StoredListing | None:
        """Return the newest listing at a location."""
        raise NotImplementedError

    def enroll_host(self, public_key: bytes) -> str:
        """Enroll a simulated host by raw Ed25519 key; return its id (SHA-256, hex)."""
        raise NotImplementedError

    def host(self, host_id: str) -> bytes:
        """Return the host's raw public key. Raises AttestationRefused if not enrolled."""
        raise NotImplementedError

    def hosts(self) -> list[str]:
        """Return the ids of the enrolled hosts."""
        raise NotImplementedError

    def remove_host(self, host_id: str) -> None:
        """End a host's enrollment. Raises AttestationRefused if not enrolled."""

    def put_secret(self, kind: str, name: str, value: bytes) -> None:
        """Keep (or replace) a named secret."""

    def secret(self, kind: str, name: str) -> bytes:
        """Return a named secret. Raises UnknownKey."""
        raise NotImplementedError
