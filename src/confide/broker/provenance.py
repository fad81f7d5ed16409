"""Provenance: how what lies at a location came about, as a broker's audit log tells it. Pure.

Nothing of it is what a program says. A commit's entry has the hash of what was committed and the thumbprint of the key
of the agent that committed it; the entry of a release to that key has what lay at each location it could read. What lay
there has an entry of its own, and so on, back to what owners encrypted themselves.
"""

from __future__ import annotations

import hmac
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confide.broker.audit import AuditEntry
from confide.canonical import sha256_hex
from confide.data.listing import Listing
from confide.errors import Misuse, Tampered

COMMIT, RELEASE, MEMBER = "commit", "release", "mesh-certificate"
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
        releases: entries of what the agents of a commit had been given until then: the one that committed, and those of
            the other members of its jobs.
        inputs: what they could read, sorted.
        writable: locations that they could write, and so read back: files there that no listing has, too.
    """

    version: Version
    entry: AuditEntry | None
    releases: tuple[AuditEntry, ...] = ()
    inputs: tuple[Version, ...] = ()
    writable: tuple[str, ...] = ()


def provenance(listing: Listing, entries: Iterable[AuditEntry]) -> list[Step]:
    """Return how the listing came about: its own step first, then what it was made from, each version once.

    1. The log has an entry of this owner, location and serial.
    2. It has the SHA-256 of this very listing.
    3. For each commit on the way, the log has a release to the same agent, with the same evidence, before it.

    Args:
        listing: verified, and what the files were checked against.
        entries: of one log, in its order, each verified to be in it.

    Raises:
        Misuse: step 1.
        Tampered: step 2 or 3.
    """
    made: dict[Version, AuditEntry] = {}
    agents = _Agents()
    for entry in entries:
        if entry.kind in (RELEASE, MEMBER) and "agent" in entry.fields:
            agents.add(entry)
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
            steps[version] = step = _step(version, made.get(version), agents)
            todo += step.inputs
    return list(steps.values())


class _Agents:
    """What agents were given, and which of them were members of one job."""

    def __init__(self) -> None:
        self._released: dict[str, list[AuditEntry]] = defaultdict(list)
        self._jobs: dict[str, set[str]] = defaultdict(set)
        self._members: dict[str, set[str]] = defaultdict(set)

    def add(self, entry: AuditEntry) -> None:
        agent = entry.fields["agent"]
        if entry.kind == RELEASE:
            self._released[agent].append(entry)
        else:
            job = entry.fields["uri"].rpartition("/role/")[0]
            self._jobs[agent].add(job)
            self._members[job].add(agent)

    def given(self, commit: AuditEntry) -> tuple[AuditEntry, ...]:
        """Return the releases before a commit to its agent and to the other members of its jobs, in their order.

        Evidence binds a public key, which others can name: a release to it counts as this agent's if it is of the same
        evidence.
        """
        agent = commit.fields["agent"]
        others = {one for job in self._jobs[agent] for one in self._members[job]} - {agent}
        own = [one for one in self._released[agent] if _same(one, commit, _WHO)]
        if not any(one.index < commit.index for one in own):
            return ()
        theirs = [
            one for other in others for one in self._released[other] if _same(one, commit, ("workload",))
        ]
        return tuple(sorted((e for e in own + theirs if e.index < commit.index), key=lambda e: e.index))


_WHO = ("workload", "measurement", "tee", "role", "svn", "hardware_id")


def _same(one: AuditEntry, other: AuditEntry, names: Iterable[str]) -> bool:
    return all(one.fields[name] == other.fields[name] for name in names)


def _step(version: Version, entry: AuditEntry | None, agents: _Agents) -> Step:
    if entry is None or entry.kind != COMMIT:
        return Step(version, entry)
    releases = agents.given(entry)
    if not releases:
        raise Tampered(f"step 3: entry {entry.index} is of an agent that the log knows no release to")
    given = {
        Version(lay["owner"], location, lay["serial"])
        for one in releases
        for location, lay in {**one.fields["reads"], **one.fields["writes"]}.items()
        if lay["serial"]
    }
    inputs = tuple(sorted(given, key=lambda v: (v.location, v.serial, v.owner)))
    return Step(
        version, entry, releases, inputs, tuple(sorted({w for one in releases for w in one.fields["writes"]}))
    )


def _made(entry: AuditEntry) -> Version:
    fields: Mapping[str, Any] = entry.fields
    owner = fields["owners"][0] if entry.kind == COMMIT else fields["owner"]
    return Version(owner, fields["location"], fields["serial"])
