"""What the audit log says of releases, refusals, commits and mesh certificates. Names and reasons; never a secret."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from confide.attestation.claims import Claims
from confide.broker.release import Access, Release
from confide.data.listing import Listing
from confide.errors import ConfideError
from confide.keys.names import KeyName
from confide.keys.recovery.documents import RecoverySet
from confide.keys.recovery.recover import Recovered

MAX_DETAIL_CHARS = 1000


def release(claims: Claims, release: Release, keys: Sequence[str], resource: str) -> dict[str, Any]:
    """Return the entry of a release: who got which keys, for what."""
    return {
        "kind": "release",
        **_workload(claims),
        "resource": resource,
        "workload": release.workload,
        "owners": sorted({*release.owners, *(KeyName.parse(key).owner for key in keys)}),
        "keys": sorted(keys),
        "reads": [grant.location for grant in release.grants if grant.access is Access.READ],
        "writes": [grant.location for grant in release.grants if grant.access is Access.WRITE],
    }


def refusal(error: ConfideError, claims: Claims | None, owners: Sequence[str]) -> dict[str, Any]:
    """Return the entry of a refusal: the class that went out, and the detail that did not."""
    return {
        "kind": "refusal",
        **(_workload(claims) if claims else {}),
        "owners": list(owners),
        "error": type(error).__name__,
        "detail": str(error)[:MAX_DETAIL_CHARS],
    }


def commit(claims: Claims, listing: Listing) -> dict[str, Any]:
    """Return the entry of a workload's commit."""
    return {
        "kind": "commit",
        **_workload(claims),
        "owners": [listing.owner],
        "location": listing.location,
        "table": listing.table,
        "serial": listing.serial,
        "files": len(listing.files),
    }


def mesh_certificate(claims: Claims, release: Release, uri: str, serial: int, expires: int) -> dict[str, Any]:
    """Return the entry of a mesh certificate: who is called what, and until when."""
    return {
        "kind": "mesh-certificate",
        **_workload(claims),
        "workload": release.workload,
        "owners": list(release.owners),
        "uri": uri,
        "serial": f"{serial:x}",
        "expires": expires,
    }


def recovery_split(owners: Collection[str], given: RecoverySet) -> dict[str, Any]:
    """Return the entry of a root key that was shared: every owner here learns who could give their keys back."""
    return {
        "kind": "recovery-split",
        "owners": sorted(owners),
        "set": given.digest(),
        "threshold": given.threshold,
        "shares": [f"{share.owner} {share.key}" for share in given.shares],
    }


def recovery_restore(owners: Collection[str], recovered: Recovered) -> dict[str, Any]:
    """Return the entry of a store that was restored: who gave its root key back."""
    return {
        "kind": "recovery-restore",
        "owners": sorted(owners),
        "set": recovered.given.digest(),
        "shares": sorted(recovered.owners),
    }


def _workload(claims: Claims) -> dict[str, Any]:
    return {
        "tee": str(claims.tee),
        "measurement": claims.measurement,
        "role": claims.role,
        "svn": claims.svn,
        "hardware_id": claims.hardware_id,
    }
