"""The release that granted locations make: their keys, each only as strong as its strictest use allows."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from confide.broker.policy import PolicyGrant
from confide.broker.release import Access, Consent, Grant, Release, ReleasedKey
from confide.data.listing import Format, Listing
from confide.errors import NoGrant, RevokedKey
from confide.keys.material import NamedKey
from confide.keys.names import KeyName

Keys = Callable[[KeyName], NamedKey]
"""Name -> key with the secrets of its live versions; raises UnknownKey."""

Listings = Callable[[str, str], Listing | None]
"""Owner and location -> newest listing, or None where nothing was committed."""


@dataclass(frozen=True)
class GrantedLocation:
    """A location that the owner of its key grants."""

    owner: str
    grant: PolicyGrant


def compose(
    *,
    workload: str,
    owners: tuple[str, ...],
    granted: Sequence[GrantedLocation],
    consents: tuple[Consent, ...],
    logs: KeyName | None,
    requests: KeyName | None,
    expires: int,
    keys: Keys,
    listings: Listings,
) -> Release:
    """Make the release; steps 8 and 9 of `confide.broker.rules.decide`.

    Raises:
        NoGrant: a listing is missing, or is not what the grant describes.
        UnknownKey, RevokedKey: a key that is not there or was revoked.
    """
    grants = tuple(_grant(location, listings) for location in granted)
    writes: dict[KeyName, bool] = {}
    for grant in grants:
        for text in (grant.key, *grant.columns.values()):
            name = KeyName.parse(text)
            writes[name] = writes.get(name, False) or grant.access is Access.WRITE
    for key in (logs, requests):
        if key is not None and key.owner in owners:
            writes[key] = True
    return Release(
        workload=workload,
        owners=owners,
        keys={
            str(name): released(keys(name), may_wrap=may_wrap) for name, may_wrap in sorted(writes.items())
        },
        grants=grants,
        consents=consents,
        logs=None if logs is None else str(logs),
        requests=None if requests is None else str(requests),
        expires=expires,
    )


def released(key: NamedKey, *, may_wrap: bool) -> ReleasedKey:
    """Return a key as it travels.

    Raises:
        RevokedKey: step 9: no live version, or none that may wrap where that is granted.
    """
    if not key.secrets:
        raise RevokedKey(f"step 9: key {key.name} was revoked")
    current = key.current_version().version if may_wrap else None
    versions = {str(version): base64.b64encode(secret).decode() for version, secret in key.secrets.items()}
    return ReleasedKey(current=current, versions=versions, revoked=tuple(sorted(key.revoked)))


def _grant(location: GrantedLocation, listings: Listings) -> Grant:
    grant = location.grant
    listing = listings(location.owner, grant.location)
    if listing is None:
        if grant.access is Access.READ and grant.format is not Format.STREAM:
            raise NoGrant(
                f"step 8: nothing was committed at {grant.location} of {location.owner}: no listing"
            )
    else:
        _check_listing(grant, listing)
    return Grant(
        owner=location.owner,
        location=grant.location,
        access=grant.access,
        format=grant.format,
        key=grant.key,
        columns=grant.columns,
        table=listing.table if listing else None,
        listing=listing,
    )


def _check_listing(grant: PolicyGrant, listing: Listing) -> None:
    if grant.table not in (None, listing.table):
        raise NoGrant(f"step 8: at {grant.location} lies table {listing.table}, granted is {grant.table}")
    if (grant.format, grant.key) != (listing.format, listing.key):
        raise NoGrant(
            f"step 8: at {grant.location} lie {listing.format} under {listing.key}, "
            f"granted are {grant.format} under {grant.key}"
        )
    # Who writes rewrites every column; who reads may be kept from some, and then lacks their keys.
    if grant.access is Access.WRITE and grant.columns != listing.columns:
        raise NoGrant(f"step 8: columns of {grant.location} lie under other keys than those granted")
    for column, key in grant.columns.items():
        if listing.columns.get(column) != key:
            raise NoGrant(f"step 8: column {column} of {grant.location} does not lie under {key}")
