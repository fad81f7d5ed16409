"""Clients of a broker: `KbsClient` for workloads (KBS protocol), `OwnerClient` for owners' signed calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from confide.broker.release import Release, ReleasedKey
from confide.data.listing import ListedFile, Listing

Issue = Callable[[bytes], Mapping[str, Any]]
"""Issues evidence: 64 bytes of report data -> `primary_evidence` of the KBS protocol."""


class KbsClient:
    """Attests to one broker over TLS 1.3, trusting only the pinned authority."""

    def __init__(self, url: str, ca_pem: bytes, timeout_s: float = 10.0) -> None:
        raise NotImplementedError

    def attest(self, tee: str, issue: Issue, launch: Mapping[str, str]) -> Session:
        """Attest, and return the session.

        Raises:
            AttestationRefused: the broker does not accept the evidence.
            BrokerUnavailable: it is down, slow, or cuts the connection.
            BrokerUntrusted: its certificate does not chain to the pinned authority.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Close the connections."""


class Session:
    """An attested session; attests again by itself when the broker has forgotten it."""

    def release(self, role: str = "default") -> Release:
        """Return keys and grants for this workload. `default` is the role that the evidence names.

        Raises:
            MeasurementRefused: no policy allows this measurement.
            LaunchRefused: launch parameters outside their grammar.
            KeyRefused: UnknownKey, RevokedKey or NoGrant.
        """
        raise NotImplementedError

    def resource(self, path: str) -> bytes:
        """Return the resource `repository/type/tag`, for instance `clinic/key/patients`."""
        raise NotImplementedError

    def commit_listing(
        self, location: str, table: str, base_serial: int, files: Sequence[ListedFile]
    ) -> tuple[Listing, dict[str, str]]:
        """Commit the complete new list of files of a location that the workload may write.

        Args:
            location: as the grant names it.
            table: id of the table or folder, 32 hex digits.
            base_serial: serial of the listing this one replaces; 0 if there is none.
            files: every file, sorted by path.

        Returns:
            The new listing, and the broker's flattened JWS over its canonical JSON.

        Raises:
            Conflict: someone else committed meanwhile.
            NoGrant: no policy lets this workload write there.
        """
        raise NotImplementedError


class OwnerClient:
    """Calls of one owner, each signed by the owner's key (RFC 8555 section 6)."""

    def __init__(
        self, url: str, ca_pem: bytes, owner: str, signing_key: Ed25519PrivateKey, timeout_s: float = 10.0
    ) -> None:
        raise NotImplementedError

    def put_key(self, name: str, key: ReleasedKey) -> None:
        """Store the owner's key `owner/name` with the secrets of its versions."""
        raise NotImplementedError

    def revoke_key(self, name: str, version: int | None = None) -> None:
        """Revoke one version, or the whole key."""
        raise NotImplementedError

    def put_policy(self, policy: Mapping[str, str]) -> None:
        """Store the owner's policy, a flattened JWS by `sign_policy`."""
        raise NotImplementedError

    def put_listing(self, listing: Mapping[str, str], base_serial: int) -> None:
        """Store a listing that the owner signed, replacing the one with `base_serial`."""
        raise NotImplementedError

    def audit_entries(self, first: int = 0) -> list[dict[str, Any]]:
        """Return the owner's audit entries from index `first` on."""
        raise NotImplementedError
