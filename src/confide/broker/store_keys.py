"""Named keys in the store: made, rotated, taken over from their owner, revoked."""

from __future__ import annotations

import hmac
import secrets as random
from dataclasses import dataclass

from confide.broker.store_records import Records
from confide.errors import AlreadyExists, Misuse, RevokedKey, Rollback, UnknownKey
from confide.keys.material import SECRET_BYTES, NamedKey
from confide.keys.names import KeyName, KeyVersion


@dataclass(frozen=True)
class VersionSummary:
    """One version of a key, without its secret; times are Unix seconds."""

    version: int
    created: int
    revoked: int | None


@dataclass(frozen=True)
class KeySummary:
    """A key without its secrets.

    Attributes:
        name: owner and name.
        current: version that wraps new data keys; None: it may only read, or was revoked.
        revoked: Unix seconds at which the whole key was revoked; None: it was not.
        versions: in order.
    """

    name: KeyName
    current: int | None
    revoked: int | None
    versions: tuple[VersionSummary, ...]


class KeyRecords(Records):
    """Keys by name. A version's secret lies sealed under `key/owner/name:version`; a revoked one is erased."""

    def create_key(self, name: KeyName) -> NamedKey:
        """Make a key with its version 1.

        Raises:
            AlreadyExists: there is a key of that name, revoked or not.
        """
        with self._database.transaction():
            if self._state(name) is not None:
                raise AlreadyExists(f"key {name} exists already")
            statement = "INSERT INTO named_key (owner, name, current) VALUES (?, ?, 1)"
            self._database.run(statement, name.owner, name.name)
            self._insert(KeyVersion(name, 1), random.token_bytes(SECRET_BYTES))
            return self.key(name)

    def rotate_key(self, name: KeyName) -> NamedKey:
        """Make the next version and make it current; older versions still unwrap.

        Raises:
            UnknownKey: there is no key of that name.
            RevokedKey: the whole key was revoked.
        """
        with self._database.transaction():
            self._live(name)
            newest = max(summary.version for summary in self._versions(name))
            self._insert(KeyVersion(name, newest + 1), random.token_bytes(SECRET_BYTES))
            self._set_current(name, newest + 1)
            return self.key(name)

    def revoke_key(self, name: KeyName, version: int | None = None) -> None:
        """Revoke one version, or the whole key for good, erasing the secrets. Again changes nothing.

        Raises:
            UnknownKey: there is no such key or version.
        """
        now = self._clock()
        with self._database.transaction():
            if self._state(name) is None:
                raise UnknownKey(f"no key {name} here")
            existing = [summary.version for summary in self._versions(name)]
            if version is not None and version not in existing:
                raise UnknownKey(f"no version {version} of key {name} here")
            for each in existing if version is None else [version]:
                self._erase(KeyVersion(name, each), now)
            if version is None:
                self._database.run(
                    "UPDATE named_key SET current = NULL, revoked = coalesce(revoked, ?)"
                    " WHERE owner = ? AND name = ?",
                    now,
                    name.owner,
                    name.name,
                )
            self._database.forget_erased()

    def put_key(self, key: NamedKey) -> None:
        """Take over a key from its owner: versions not known here are added, the rest must agree.

        Raises:
            RevokedKey: it would bring back a version, or a key, that was revoked here.
            AlreadyExists: a version has another secret here.
            Rollback: its current version is older than the one known here.
            Misuse: a secret that is not 32 bytes, or a current version that it does not have.
        """
        _check(key)
        now = self._clock()
        with self._database.transaction():
            if self._state(key.name) is None:
                statement = "INSERT INTO named_key (owner, name) VALUES (?, ?)"
                self._database.run(statement, key.name.owner, key.name.name)
            current = self._live(key.name)
            revoked = {summary.version for summary in self._versions(key.name) if summary.revoked is not None}
            for version, secret in key.secrets.items():
                if version in revoked:
                    raise RevokedKey(f"key {KeyVersion(key.name, version)} was revoked here")
                self._agree(KeyVersion(key.name, version), secret)
            for version in key.revoked:
                self._erase(KeyVersion(key.name, version), now)
            if current is not None and (key.current is None or key.current < current):
                raise Rollback(f"key {key.name} is at version {current} here, not {key.current}")
            self._set_current(key.name, key.current)
            if key.revoked:
                self._database.forget_erased()

    def key(self, name: KeyName) -> NamedKey:
        """Return a key with the secrets of its live versions.

        Raises:
            UnknownKey: there is no key of that name.
            Tampered: one of its cells was changed.
        """
        with self._database.transaction():
            state = self._state(name)
            if state is None:
                raise UnknownKey(f"no key {name} here")
            query = "SELECT version, sealed FROM key_version WHERE owner = ? AND name = ?"
            rows = self._database.rows(query, name.owner, name.name)
        secrets = {
            v: self._unseal("key", str(KeyVersion(name, v)), cell) for v, cell in rows if cell is not None
        }
        return NamedKey(name, state[0], secrets, frozenset(v for v, cell in rows if cell is None))

    def keys(self, owner: str | None = None) -> list[KeySummary]:
        """Return every key, or those of one owner, without secrets, sorted by name."""
        query = "SELECT owner, name, current, revoked FROM named_key WHERE owner = coalesce(?, owner) ORDER BY 1, 2"
        with self._database.transaction():
            return [
                KeySummary(KeyName(who, name), current, revoked, tuple(self._versions(KeyName(who, name))))
                for who, name, current, revoked in self._database.rows(query, owner)
            ]

    def _state(self, name: KeyName) -> tuple[int | None, int | None] | None:
        query = "SELECT current, revoked FROM named_key WHERE owner = ? AND name = ?"
        row: tuple[int | None, int | None] | None = self._database.row(query, name.owner, name.name)
        return row

    def _live(self, name: KeyName) -> int | None:
        """Return the current version of a key that was not revoked as a whole."""
        state = self._state(name)
        if state is None:
            raise UnknownKey(f"no key {name} here")
        if state[1] is not None:
            raise RevokedKey(f"key {name} was revoked")
        return state[0]

    def _versions(self, name: KeyName) -> list[VersionSummary]:
        query = (
            "SELECT version, created, revoked FROM key_version WHERE owner = ? AND name = ? ORDER BY version"
        )
        return [VersionSummary(*row) for row in self._database.rows(query, name.owner, name.name)]

    def _insert(self, version: KeyVersion, secret: bytes) -> None:
        sealed = self._seal("key", str(version), secret)
        statement = "INSERT INTO key_version VALUES (?, ?, ?, ?, ?, NULL)"
        key = version.key
        self._database.run(statement, key.owner, key.name, version.version, sealed, self._clock())

    def _agree(self, version: KeyVersion, secret: bytes) -> None:
        """Add a version, or see that the one known has the same secret."""
        query = "SELECT sealed FROM key_version WHERE owner = ? AND name = ? AND version = ?"
        row = self._database.row(query, version.key.owner, version.key.name, version.version)
        if row is None:
            self._insert(version, secret)
        elif not hmac.compare_digest(self._unseal("key", str(version), row[0]), secret):
            raise AlreadyExists(f"key {version} has another secret here")

    def _erase(self, version: KeyVersion, now: int) -> None:
        """Revoke a version, known or not: what is remembered as revoked cannot come in later."""
        self._database.run(
            "INSERT INTO key_version VALUES (?, ?, ?, NULL, ?, ?) ON CONFLICT (owner, name, version)"
            " DO UPDATE SET sealed = NULL, revoked = coalesce(key_version.revoked, excluded.revoked)",
            version.key.owner,
            version.key.name,
            version.version,
            now,
            now,
        )

    def _set_current(self, name: KeyName, version: int | None) -> None:
        statement = "UPDATE named_key SET current = ? WHERE owner = ? AND name = ?"
        self._database.run(statement, version, name.owner, name.name)


def _check(key: NamedKey) -> None:
    known = key.secrets.keys() | key.revoked
    if not known or min(known) < 1 or key.secrets.keys() & key.revoked:
        raise Misuse(f"key {key.name} has no versions, or one both live and revoked")
    if any(len(secret) != SECRET_BYTES for secret in key.secrets.values()):
        raise Misuse(f"key {key.name} has a secret that is not {SECRET_BYTES} bytes")
    if key.current is not None and key.current not in known:
        raise Misuse(f"key {key.name} does not have its current version {key.current}")
