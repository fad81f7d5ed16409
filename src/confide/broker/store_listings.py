"""Listings in the store: the newest of each table, and which table lies at which location."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from confide.broker.store_records import Records
from confide.canonical import canonical_json
from confide.data.listing import Listing
from confide.errors import AlreadyExists, Conflict, Misuse, Rollback


@dataclass(frozen=True)
class StoredListing:
    """The newest listing of a table.

    Attributes:
        listing: the commit record.
        jws: the flattened JSON JWS over it.
    """

    listing: Listing
    jws: dict[str, Any]


class ListingRecords(Records):
    """Listings by owner and table, sealed with their serial. Who commits one here has verified it."""

    def commit_listing(self, listing: Listing, jws: dict[str, Any], base_serial: int) -> None:
        """Commit a table's next listing if `base_serial` is still its newest; 0 stands for none yet.

        The very same listing again changes nothing, so that a commit whose answer was lost can be repeated.

        Raises:
            Conflict: someone committed since `base_serial`.
            Rollback: the listing is not newer than the newest one.
            AlreadyExists: the location holds another table, or the table lies at another location.
            Misuse: the listing's serial is not the one after `base_serial`.
        """
        with self._database.transaction():
            newest = self._newest_in_place(listing)
            if newest is not None and newest.listing == listing:
                return
            serial = newest.listing.serial if newest is not None else 0
            if base_serial != serial:
                raise Conflict(f"{listing.location} is at serial {serial}, not {base_serial}")
            if listing.serial <= serial:
                raise Rollback(f"listing {listing.serial} of {listing.location} is not newer than {serial}")
            if listing.serial != serial + 1:
                raise Misuse(f"the listing after {serial} has serial {serial + 1}, not {listing.serial}")
            self._keep(listing, jws)

    def put_listing(self, listing: Listing, jws: dict[str, Any]) -> None:
        """Take over a listing from its owner, whatever serials came before elsewhere; the same again changes nothing.

        Raises:
            Rollback: the listing is not newer than the newest one.
            AlreadyExists: the location holds another table, or the table lies at another location.
        """
        with self._database.transaction():
            newest = self._newest_in_place(listing)
            if newest is not None and newest.listing == listing:
                return
            if newest is not None and listing.serial <= newest.listing.serial:
                raise Rollback(
                    f"listing {listing.serial} of {listing.location} is not newer than {newest.listing.serial}"
                )
            self._keep(listing, jws)

    def _newest_in_place(self, listing: Listing) -> StoredListing | None:
        """Return the newest listing of the same table, having seen that the location is its own."""
        newest = self.listing(listing.owner, listing.table)
        there = self._at(listing.owner, listing.location)
        if there not in (None, listing.table):
            raise AlreadyExists(f"location {listing.location} holds table {there}, not {listing.table}")
        if newest is not None and newest.listing.location != listing.location:
            raise AlreadyExists(f"table {listing.table} lies at {newest.listing.location}")
        return newest

    def _keep(self, listing: Listing, jws: dict[str, Any]) -> None:
        name = _name(listing.owner, listing.table, listing.location, listing.serial)
        document = canonical_json({"jws": jws, "listing": listing.model_dump(mode="json")})
        self._database.run(
            "INSERT INTO listing VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (owner, table_id) DO UPDATE SET serial = excluded.serial, sealed = excluded.sealed",
            listing.owner,
            listing.table,
            listing.location,
            listing.serial,
            self._seal("listing", name, document),
        )

    def listing(self, owner: str, table: str) -> StoredListing | None:
        """Return a table's newest listing, None if nothing was committed.

        Raises:
            Tampered: its cell was changed.
        """
        query = "SELECT location, serial, sealed FROM listing WHERE owner = ? AND table_id = ?"
        row = self._database.row(query, owner, table)
        if row is None:
            return None
        location, serial, sealed = row
        document = json.loads(self._unseal("listing", _name(owner, table, location, serial), sealed))
        return StoredListing(Listing.model_validate(document["listing"]), document["jws"])

    def listing_at(self, owner: str, location: str) -> StoredListing | None:
        """Return the newest listing of the owner's table at a location, None if nothing was committed there.

        Raises:
            Tampered: its cell was changed.
        """
        with self._database.transaction():
            table = self._at(owner, location)
            return None if table is None else self.listing(owner, table)

    def listings(self, owner: str | None = None) -> list[StoredListing]:
        """Return the newest listing of every table, or of one owner's, sorted by owner and location."""
        query = (
            "SELECT owner, table_id FROM listing WHERE owner = coalesce(?, owner) ORDER BY owner, location"
        )
        with self._database.transaction():
            found = [self.listing(who, table) for who, table in self._database.rows(query, owner)]
        return [each for each in found if each is not None]

    def _at(self, owner: str, location: str) -> str | None:
        query = "SELECT table_id FROM listing WHERE owner = ? AND location = ?"
        row = self._database.row(query, owner, location)
        return None if row is None else str(row[0])


def _name(owner: str, table: str, location: str, serial: int) -> str:
    return f"{owner}/{table}:{serial}@{location}"
