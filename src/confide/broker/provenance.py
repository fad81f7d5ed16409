"""Provenance: how what lies at a location came about, as a broker's audit log tells it. Pure.

Nothing of it is what a program says. A commit's entry has the hash of what was committed and the thumbprint of the key
of the agent that committed it; the entry of a release to that key has what lay at each location it could read. What lay
there has an entry of its own, and so on, back to what owners encrypted themselves.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confide.broker.audit import AuditEntry
from confide.canonical import sha256_hex
from confide.data.listing import Listing
from confide.errors import Misuse, Tampered

COMMIT, RELEASE = "commit", "release"
BY_OWNER = frozenset({"encrypt", "listing"})
"""Kinds of entries of what an owner encrypted: at home, and sent to a broker."""


@dataclass(frozen=True)
class Version:
    """What lay at a location once.

    Attributes:
        owner: of the location's key.
        location: as policies name it.
        serial: of its listing.
    """

    owner: str
    location: str
    serial: int


@dataclass(frozen=True)
class Step:
    """How one version came about.

    Attributes:
        version: which.
        entry: that tells of it: a workload's commit, or what its owner encrypted. None: this log has none.
        releases: entries of what the agent of a commit had been given until then.
        inputs: what it could read, sorted.
    """

    version: Version
    entry: AuditEntry | None
    releases: tuple[AuditEntry, ...] = ()
    inputs: tuple[Version, ...] = ()


def provenance(listing: Listing, entries: Iterable[AuditEntry]) -> list[Step]:
    """Return how the listing came about: its own step first, then what it was made from, each version once.

    1. The log has an entry of this owner, location and serial.
    2. It has the SHA-256 of this very listing.
    3. For each commit on the way, the log has a release to the same agent before it.

    Args:
        listing: verified, and what the files were checked against.
        entries: of one log, in its order, each verified to be in it.

    Raises:
        Misuse: step 1.
        Tampered: step 2 or 3.
    """
    made: dict[Version, AuditEntry] = {}
    released: dict[str, list[AuditEntry]] = {}
    for entry in entries:
        if entry.kind == RELEASE and "agent" in entry.fields:
            released.setdefault(entry.fields["agent"], []).append(entry)
        elif (entry.kind == COMMIT or entry.kind in BY_OWNER) and "listing" in entry.fields:
            made.setdefault(_made(entry), entry)
    first = Version(listing.owner, listing.location, listing.serial)
    if first not in made:
        raise Misuse(
            f"step 1: this log has no entry of {listing.location}, serial {listing.serial}: it was committed at "
            "another broker, or before logs had what provenance needs"
        )
    if not hmac.compare_digest(made[first].fields["listing"], sha256_hex(listing.canonical())):
        raise Tampered(f"step 2: serial {listing.serial} of {listing.location} is another one in the log")
    steps: dict[Version, Step] = {}
    todo = [first]
    while todo:
        version = todo.pop(0)
        if version not in steps:
            steps[version] = step = _step(version, made.get(version), released)
            todo += step.inputs
    return list(steps.values())


def _step(version: Version, entry: AuditEntry | None, released: Mapping[str, list[AuditEntry]]) -> Step:
    if entry is None or entry.kind != COMMIT:
        return Step(version, entry)
    releases = tuple(one for one in released.get(entry.fields["agent"], ()) if one.index < entry.index)
    if not releases:
        raise Tampered(f"step 3: entry {entry.index} is of an agent that the log knows no release to")
    given = {
        Version(lay["owner"], location, lay["serial"])
        for one in releases
        for location, lay in {**one.fields["reads"], **one.fields["writes"]}.items()
        if lay["serial"]
    }
    return Step(version, entry, releases, tuple(sorted(given, key=lambda v: (v.location, v.serial, v.owner))))


def _made(entry: AuditEntry) -> Version:
    fields: Mapping[str, Any] = entry.fields
    owner = fields["owners"][0] if entry.kind == COMMIT else fields["owner"]
    return Version(owner, fields["location"], fields["serial"])
