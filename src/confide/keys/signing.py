"""Owners' signatures: Ed25519 (RFC 8032) in flattened JSON JWS (RFC 7515 section 7.2.2, RFC 8037)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey


@dataclass(frozen=True)
class VerifiedJws:
    """What a verified JWS says: who (`kid`), the whole protected header, and the payload."""

    kid: str
    header: dict[str, Any]
    payload: bytes


def generate_signing_key() -> Ed25519PrivateKey:
    """Return a fresh Ed25519 private key."""
    raise NotImplementedError


def raw_private(key: Ed25519PrivateKey) -> bytes:
    """Return the 32 raw bytes of a private key."""
    raise NotImplementedError


def raw_public(key: Ed25519PublicKey) -> bytes:
    """Return the 32 raw bytes of a public key."""
    raise NotImplementedError


def private_key_from_raw(raw: bytes) -> Ed25519PrivateKey:
    """Return the private key of 32 raw bytes. Raises InvalidFormat."""
    raise NotImplementedError


def public_key_from_raw(raw: bytes) -> Ed25519PublicKey:
    """Return the public key of 32 raw bytes. Raises InvalidFormat."""
    raise NotImplementedError


def key_id(public_key: Ed25519PublicKey) -> str:
    """Return SHA-256 of the raw public key, 64 hex digits."""
    raise NotImplementedError


def sign_jws(private_key: Ed25519PrivateKey, payload: bytes, headers: Mapping[str, Any]) -> dict[str, Any]:
    """Sign `payload`; `headers` (kid, typ, ...) and alg EdDSA become the protected header."""
    raise NotImplementedError


def open_jws(
    jws: Mapping[str, Any], keys: Mapping[str, Ed25519PublicKey], typ: str, max_bytes: int
) -> VerifiedJws:
    """Verify a flattened JWS under the key that its kid names in `keys`. Raises SignatureRefused."""
    raise NotImplementedError


def verify_jws(jws: Mapping[str, Any], keys: Mapping[str, Ed25519PublicKey], typ: str, max_bytes: int) -> bytes:
    """Like `open_jws`, returning the payload only."""
    return open_jws(jws, keys, typ, max_bytes).payload
