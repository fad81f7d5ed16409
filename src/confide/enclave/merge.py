"""Releases of several brokers become one: each owner's keys and grants come from one broker only.

No broker sees what the others grant, so what `confide.broker.rules` demands between owners (steps 6 and 7) is
demanded here between brokers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from confide.broker.locations import overlap
from confide.broker.release import Access, Consent, Grant, Release, ReleasedKey
from confide.errors import KeyRefused, NoGrant, PolicyRefused
from confide.keys.names import KeyName


def merge_releases(releases: Mapping[str, Release], named: Iterable[str]) -> Release:
    """Return one release out of those of several brokers (broker name -> release).

    Args:
        releases: at least one.
        named: owners whom the image names, all of whom take part and nobody else; empty: one owner alone does.

    Raises:
        NoGrant: an owner whom the image names granted nothing, or one whom it does not name something, or a location
            is written to which the owners at another broker do not consent, or a key for logs or requests that
            they name was not released by its owner.
        PolicyRefused: two brokers speak for the same owner, or one for an owner who takes no part there; they
            differ on the workload's name, logs key or requests key, or grant locations that overlap.
        KeyRefused: two brokers released a key of the same name.
    """
    owners: set[str] = set()
    keys: dict[str, ReleasedKey] = {}
    grants: list[Grant] = []
    for broker, release in sorted(releases.items()):
        if twice := owners.intersection(release.owners):
            raise PolicyRefused(
                f"broker {broker} speaks for {', '.join(sorted(twice))}, as another broker does"
            )
        if twice := keys.keys() & release.keys.keys():
            raise KeyRefused(f"broker {broker} released {', '.join(sorted(twice))}, as another broker did")
        _check_owners(broker, release)
        owners.update(release.owners)
        keys.update(release.keys)
        grants.extend(release.grants)
    for (one, first), (other, second) in itertools.permutations(sorted(releases.items()), 2):
        _check_locations(one, first, other, second)
    expected = set(named)
    if missing := expected - owners:
        raise NoGrant(f"no grant of {', '.join(sorted(missing))}")
    if others := owners - expected if expected else len(owners) > 1:
        strangers = ", ".join(sorted(owners if others is True else others))
        raise NoGrant(f"granted by {strangers}, whom the image does not name")
    if not grants and not any(release.requests for release in releases.values()):
        raise NoGrant("no location is granted")
    workloads = {release.workload for release in releases.values()}
    logs = {release.logs for release in releases.values()}
    requests = {release.requests for release in releases.values()}
    if any(len(named) > 1 for named in (workloads, logs, requests)):
        raise PolicyRefused(
            "the owners' policies differ on the workload's name, its logs key or its requests key"
        )
    log_key, request_key = logs.pop(), requests.pop()
    for use, key in (("logs", log_key), ("requests", request_key)):
        if key is not None and key not in keys:
            raise NoGrant(f"{use} key {key} was not released: its owner does not take part")
    return Release(
        workload=workloads.pop(),
        owners=tuple(sorted(owners)),
        keys=keys,
        grants=tuple(grants),
        logs=log_key,
        requests=request_key,
        expires=min(release.expires for release in releases.values()),
    )


def _check_owners(broker: str, release: Release) -> None:
    named = {KeyName.parse(key).owner for key in release.keys} | {grant.owner for grant in release.grants}
    if foreign := named - set(release.owners):
        raise PolicyRefused(
            f"broker {broker} speaks for {', '.join(sorted(foreign))}, who take no part there"
        )


def _check_locations(one: str, first: Release, other: str, second: Release) -> None:
    for mine, theirs in itertools.product(first.grants, second.grants):
        if overlap(mine.location, theirs.location):
            raise PolicyRefused(
                f"broker {one} grants {mine.location}, broker {other} {theirs.location}: they overlap"
            )
    for grant in first.grants:
        if grant.access is Access.WRITE and _consent(grant) not in second.consents:
            raise NoGrant(f"the owners at broker {other} do not consent to writing {grant.location}")


def _consent(grant: Grant) -> Consent:
    return Consent(location=grant.location, format=grant.format, key=grant.key, columns=grant.columns)
