"""An owner's client of a broker: calls signed by the owner's key (as RFC 8555 section 6 has it)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from confide.broker.ca import authority_id
from confide.broker.listing_signing import sign_listing
from confide.broker.owner_call import CALL_TYP
from confide.broker.release import ReleasedKey
from confide.broker.transport import Transport
from confide.canonical import canonical_json
from confide.data.listing import Listing
from confide.errors import BrokerUnavailable, InvalidFormat
from confide.keys.names import parse_owner
from confide.keys.signing import public_key_from_raw, sign_jws


class OwnerClient:
    """Calls of one owner to one broker, each with a fresh nonce.

    Args:
        url: `https://host:port`; the host is one of the names in the broker's certificate.
        ca_pem: certificate of the broker's authority, the only one trusted.
        owner: whose calls these are; pinned at the broker.
        signing_key: the owner's key.
        timeout_s: longest silence of the broker.

    Attributes:
        authority: id of the broker's authority.

    Every call raises BrokerUnavailable, BrokerUntrusted, or SignatureRefused where the broker does not know
    the owner by this key; and what the call itself names.
    """

    def __init__(
        self, url: str, ca_pem: bytes, owner: str, signing_key: Ed25519PrivateKey, timeout_s: float = 10.0
    ) -> None:
        self._transport = Transport(url, ca_pem, timeout_s)
        self._owner = parse_owner(owner)
        self._key = signing_key
        self.authority = authority_id(ca_pem)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def put_key(self, name: str, key: ReleasedKey) -> None:
        """Store the owner's key `owner/name`: versions not known there are added, the rest must agree.

        Raises:
            RevokedKey, Rollback, AlreadyExists: it contradicts what is known there.
        """
        self._call("put-key", {"name": name, "key": key.model_dump(mode="json")})

    def revoke_key(self, name: str, version: int | None = None) -> None:
        """Revoke one version, or the whole key.

        Raises:
            UnknownKey: there is no such key or version.
        """
        self._call("revoke-key", {"name": name, "version": version})

    def put_policy(self, policy: Mapping[str, Any]) -> None:
        """Store the owner's policy, a flattened JWS by `sign_policy`.

        Raises:
            Rollback: a newer one is known there.
            PolicyRefused, InvalidPolicy: it is not acceptable.
        """
        self._call("put-policy", {"policy": dict(policy)})

    def put_listing(self, listing: Listing) -> None:
        """Sign and store a listing of the owner.

        Raises:
            Rollback: one as new or newer is known there.
            AlreadyExists: another table lies at its location.
        """
        self._call("put-listing", {"listing": sign_listing(listing, self._key, self._owner)})

    def newest_listing(self, location: str) -> dict[str, Any] | None:
        """Return the newest listing of a location that the broker knows, a flattened JWS still to be verified."""
        answer = self._call("newest-listing", {"location": location}).get("listing")
        if answer is not None and not isinstance(answer, dict):
            raise BrokerUnavailable("the broker's answer holds no listing")
        return answer

    def audit_entries(self, first: int = 0) -> list[dict[str, Any]]:
        """Return the owner's entries from index `first` on: `index`, `time` (Unix seconds), `kind`, `fields`."""
        entries: list[dict[str, Any]] = []
        while True:
            page = self._call("audit-entries", {"first": first})
            entries += page["entries"]
            if page["end"] or page["next"] <= first:
                return entries
            first = page["next"]

    def audit_checkpoint(self) -> tuple[str, str]:
        """Return the log's signed state, and the key that verifies it."""
        answer = self._call("audit-checkpoint", {})
        return answer["checkpoint"], answer["key"]

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Return the path of entry `index` in the log of `size` entries."""
        return _nodes(self._call("audit-proofs", {"size": size, "index": index}), "inclusion")

    def consistency_proof(self, old: int, size: int) -> list[bytes]:
        """Return the proof that the log of `size` entries begins with that of `old`."""
        return _nodes(self._call("audit-proofs", {"size": size, "old": old}), "consistency")

    def listing_keys(self) -> list[Ed25519PublicKey]:
        """Return the keys that sign the listings which workloads commit at this broker (from its JWKS)."""
        keys = self._transport.request("GET", "/confide/v1/jwks").json()
        try:
            return [
                public_key_from_raw(base64.urlsafe_b64decode(key["x"] + "=="))
                for key in keys["keys"]
                if key["kty"] == "OKP"
            ]
        except (KeyError, TypeError, ValueError, InvalidFormat):
            raise BrokerUnavailable("the broker's answer holds no keys") from None

    def _call(self, action: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        path = f"/confide/v1/owners/{self._owner}/{action}"
        nonce = self._transport.request("GET", "/confide/v1/nonce").headers.get("replay-nonce")
        if nonce is None:
            raise BrokerUnavailable(f"{self._transport.url}: no nonce in its answer")
        headers = {
            "kid": self._owner,
            "typ": CALL_TYP,
            "nonce": nonce,
            "url": self._transport.url + path,
            "aud": self.authority,
        }
        jws = sign_jws(self._key, canonical_json(payload), headers)
        return self._transport.request("POST", path, canonical_json(jws)).json()


def _nodes(answer: Mapping[str, Any], name: str) -> list[bytes]:
    try:
        return [bytes.fromhex(node) for node in answer[name]]
    except (KeyError, TypeError, ValueError):
        raise BrokerUnavailable("the broker's answer holds no proof") from None
