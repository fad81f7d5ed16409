"""Named secrets of the store: the broker's certificate authority, token and audit keys, owners' signing keys."""

from __future__ import annotations

import re

from confide.broker.store_records import Records
from confide.errors import Misuse, UnknownKey

MAX_SECRET_BYTES = 64 * 1024

_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]{0,199}")


class SecretRecords(Records):
    """Secrets by kind and name."""

    def put_secret(self, kind: str, name: str, value: bytes) -> None:
        """Keep a secret, replacing the one of that kind and name.

        Raises:
            Misuse: a kind or name outside its grammar, or more than 64 KiB.
        """
        _check(kind, name)
        if len(value) > MAX_SECRET_BYTES:
            raise Misuse(f"secret {kind}/{name} is larger than {MAX_SECRET_BYTES} bytes")
        with self._database.transaction():
            self._database.run(
                "INSERT INTO secret VALUES (?, ?, ?)"
                " ON CONFLICT (kind, name) DO UPDATE SET sealed = excluded.sealed",
                kind,
                name,
                self._seal(f"secret-{kind}", name, value),
            )

    def secret(self, kind: str, name: str) -> bytes:
        """Return a secret.

        Raises:
            UnknownKey: there is none of that kind and name.
            Tampered: its cell was changed.
        """
        _check(kind, name)
        row = self._database.row("SELECT sealed FROM secret WHERE kind = ? AND name = ?", kind, name)
        if row is None:
            raise UnknownKey(f"no secret {kind}/{name} here")
        return self._unseal(f"secret-{kind}", name, row[0])


def _check(kind: str, name: str) -> None:
    if not _KIND.fullmatch(kind) or not _NAME.fullmatch(name):
        raise Misuse(f"not a secret's kind and name: {kind!r}, {name!r}")
