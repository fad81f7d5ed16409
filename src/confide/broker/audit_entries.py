"""What the audit log says of releases, refusals, commits and mesh certificates. Names and reasons; never a secret."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from confide.attestation.claims import Claims
from confide.broker.release import Access, Release
from confide.canonical import canonical_json, sha256_hex
from confide.data.listing import Listing
from confide.errors import ConfideError
from confide.keys.names import KeyName
from confide.keys.recovery.documents import RecoverySet
from confide.keys.recovery.recover import Recovered

MAX_DETAIL_CHARS = 1000


def release(claims: Claims, release: Release, keys: Sequence[str], resource: str) -> dict[str, Any]:
    """Return the entry of a release: who got which keys, for what, and what lay there."""
    return {
        "kind": "release",
        **_workload(claims),
        "resource": resource,
        "workload": release.workload,
        "owners": sorted({*release.owners, *(KeyName.parse(key).owner for key in keys)}),
        "keys": sorted(keys),
        "reads": _versions(release, Access.READ),
        "writes": _versions(release, Access.WRITE),
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


def commit(claims: Claims, workload: str, listing: Listing) -> dict[str, Any]:
    """Return the entry of a workload's commit."""
    return {
        "kind": "commit",
        **_workload(claims),
        "workload": workload,
        "owners": [listing.owner],
        **listed(listing),
    }


def listed(listing: Listing) -> dict[str, Any]:
    """Return what entries say of a listing: where it is of, and what it is to the byte."""
    return {
        "location": listing.location,
        "table": listing.table,
        "serial": listing.serial,
        "files": len(listing.files),
        "listing": sha256_hex(listing.canonical()),
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


def _versions(release: Release, access: Access) -> Mapping[str, Mapping[str, str | int]]:
    """Return what lay at the granted locations, to be read or read back: location -> owner and serial, 0: nothing."""
    return {
        grant.location: {"owner": grant.owner, "serial": grant.listing.serial if grant.listing else 0}
        for grant in release.grants
        if grant.access is access
    }


def _workload(claims: Claims) -> dict[str, Any]:
    """Return who it was. `agent` is the thumbprint (RFC 7638) of its key, which one run keeps, and no two have."""
    members = {name: claims.tee_pubkey[name] for name in ("crv", "kty", "x", "y")}
    return {
        "agent": sha256_hex(canonical_json(members)),
        "tee": str(claims.tee),
        "measurement": claims.measurement,
        "role": claims.role,
        "svn": claims.svn,
        "hardware_id": claims.hardware_id,
    }
