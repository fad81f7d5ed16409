"""The tables that a program reads itself: what its image declares, as the owners' policies grant it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path

from confide.broker.locations import overlap
from confide.broker.release import Access, Release
from confide.canonical import canonical_json, sha256_hex
from confide.data.listing import Format
from confide.enclave.image import WORK, Image
from confide.enclave.profile import STREAM
from confide.enclave.program_socket import StreamedTable
from confide.errors import FileMissing, Misuse, NoGrant
from confide.keys.material import Keyset
from confide.keys.names import KeyName


def declared(image: Image) -> tuple[str, ...]:
    """Return the locations of the tables that the image's program reads itself."""
    return tuple(json.loads(image.settings.get(STREAM, "[]")))


def granted(
    release: Release, locations: Collection[str], root: Path = Path(WORK)
) -> dict[str, StreamedTable]:
    """Return these tables by location, each with the keys that its grant names, and no others.

    Args:
        release: what was granted.
        locations: of the tables.
        root: the data root as the program sees it.

    Raises:
        NoGrant: the policy does not grant reading a table there.
        Misuse: the program may write there, too, or it is not below the data root.
        FileMissing: nothing was ever committed there.
    """
    held, tables = release.keyset(), {}
    for location in sorted(locations):
        writes = (grant.location for grant in release.grants if grant.access is Access.WRITE)
        if "://" in location or any(overlap(location, written) for written in writes):
            raise Misuse(
                f"the program reads {location} itself: that must be below the data root, and none of its outputs"
            )
        reads = [
            grant
            for grant in release.grants
            if (grant.location, grant.access, grant.format) == (location, Access.READ, Format.TABLE)
        ]
        if not reads:
            raise NoGrant(f"the program reads {location} itself: the policy must grant reading a table there")
        grant = reads[0]
        if grant.listing is None:
            raise FileMissing(f"nothing was committed to {location}")
        keys = {grant.key, *grant.columns.values()} & release.keys.keys()
        keyset = Keyset({name: held.key(name) for name in map(KeyName.parse, keys)})
        tables[location] = StreamedTable(root / location, grant.listing, frozenset(keys), keyset)
    return tables


def state(tables: Mapping[str, StreamedTable]) -> str:
    """Return a hash of what was committed to all of them; empty where there are none."""
    if not tables:
        return ""
    listings = {location: table.listing.model_dump(mode="json") for location, table in tables.items()}
    return sha256_hex(canonical_json(listings))
