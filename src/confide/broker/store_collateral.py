"""Collateral of hardware TEEs in the store: the newest of each kind, and how its last refresh went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from confide.broker.store_records import Records

_COLUMNS = "name, sealed, source, obtained, expires, failed, failure"


@dataclass(frozen=True)
class StoredCollateral:
    """Collateral as it is kept.

    Attributes:
        name: what it is for.
        document: the bytes that were verified before they were kept.
        source: where it came from: a server, a file.
        obtained: Unix seconds.
        expires: Unix seconds at which a newer one is due.
        failed: Unix seconds of the last failure since; None: there was none.
        failure: why.
    """

    name: str
    document: bytes
    source: str
    obtained: int
    expires: int
    failed: int | None
    failure: str


class CollateralRecords(Records):
    """Collateral by name, sealed. It is public; sealed, nobody else puts some into the store unverified."""

    def put_collateral(self, name: str, document: bytes, *, source: str, expires: int) -> None:
        """Keep collateral, replacing the one of that name. Who calls this has verified it."""
        statement = (
            f"INSERT INTO collateral ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, NULL, '')"  # noqa: S608 - constant
            " ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, source = excluded.source,"
            " obtained = excluded.obtained, expires = excluded.expires, failed = NULL, failure = ''"
        )
        sealed = self._seal("collateral", name, document)
        with self._database.transaction():
            self._database.run(statement, name, sealed, source, self._clock(), expires)

    def put_collateral_failure(self, name: str, reason: str) -> None:
        """Remember why collateral that is kept could not be refreshed; of what is not kept, nothing is remembered."""
        statement = "UPDATE collateral SET failed = ?, failure = ? WHERE name = ?"
        with self._database.transaction():
            self._database.run(statement, self._clock(), reason, name)

    def collateral(self, name: str) -> StoredCollateral | None:
        """Return what is kept under a name.

        Raises:
            Tampered: its cell was changed.
        """
        query = f"SELECT {_COLUMNS} FROM collateral WHERE name = ?"  # noqa: S608 - constant
        row = self._database.row(query, name)
        return None if row is None else self._kept_collateral(row)

    def collaterals(self) -> list[StoredCollateral]:
        """Return all that is kept, sorted by name.

        Raises:
            Tampered: a cell was changed.
        """
        query = f"SELECT {_COLUMNS} FROM collateral ORDER BY name"  # noqa: S608 - constant
        return [self._kept_collateral(row) for row in self._database.rows(query)]

    def _kept_collateral(self, row: Any) -> StoredCollateral:
        name, sealed, *rest = row
        return StoredCollateral(name, self._unseal("collateral", name, sealed), *rest)
