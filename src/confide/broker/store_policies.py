"""Policies in the store: the newest of each owner."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from confide.broker.database import Database
from confide.broker.store_records import Records
from confide.canonical import canonical_json
from confide.errors import Misuse, Rollback
from confide.keys.names import parse_owner


@dataclass(frozen=True)
class StoredPolicy:
    """An owner's newest policy.

    Attributes:
        owner: whose it is.
        serial: it counts up; older ones are refused.
        jws: flattened JSON JWS as it came in.
        toml: its payload.
    """

    owner: str
    serial: int
    jws: dict[str, Any]
    toml: bytes


class PolicyRecords(Records):
    """Policies by owner, sealed with their serial. Who puts one here has verified it."""

    def __init__(self, database: Database, root: bytes, clock: Callable[[], int]) -> None:
        super().__init__(database, root, clock)
        self._opened: dict[str, tuple[int, bytes, StoredPolicy]] = {}

    def put_policy(self, owner: str, serial: int, jws: dict[str, Any], toml: bytes) -> None:
        """Keep an owner's policy in place of an older one; the very same again changes nothing.

        Raises:
            Rollback: its serial is not higher than that of the newest one known.
            Misuse: not an owner's name, a serial below 1, or not UTF-8.
        """
        parse_owner(owner)
        if serial < 1:
            raise Misuse("a policy's serial counts from 1")
        try:
            document = canonical_json({"jws": jws, "toml": toml.decode()})
        except ValueError:
            raise Misuse(f"policy of {owner} is not text, or its signature not JSON") from None
        with self._database.transaction():
            newest = self.policy(owner)
            if newest is not None and serial <= newest.serial:
                if (serial, toml) == (newest.serial, newest.toml):
                    return
                raise Rollback(f"policy {serial} of {owner} is not newer than {newest.serial}")
            self._database.run(
                "INSERT INTO policy VALUES (?, ?, ?)"
                " ON CONFLICT (owner) DO UPDATE SET serial = excluded.serial, sealed = excluded.sealed",
                owner,
                serial,
                self._seal("policy", f"{owner}:{serial}", document),
            )

    def policy(self, owner: str) -> StoredPolicy | None:
        """Return an owner's newest policy, None if there is none.

        Raises:
            Tampered: its cell was changed.
        """
        row = self._database.row("SELECT owner, serial, sealed FROM policy WHERE owner = ?", owner)
        return None if row is None else self._stored(row)

    def policies(self) -> list[StoredPolicy]:
        """Return the newest policy of every owner that has one, sorted by owner."""
        rows = self._database.rows("SELECT owner, serial, sealed FROM policy ORDER BY owner")
        return [self._stored(row) for row in rows]

    def _stored(self, row: tuple[str, int, bytes]) -> StoredPolicy:
        owner, serial, sealed = row
        known = self._opened.get(owner)  # the very cell, read at every request: opened once
        if known is not None and known[:2] == (serial, sealed):
            return known[2]
        document = json.loads(self._unseal("policy", f"{owner}:{serial}", sealed))
        stored = StoredPolicy(owner, serial, document["jws"], document["toml"].encode())
        self._opened[owner] = serial, sealed, stored
        return stored
