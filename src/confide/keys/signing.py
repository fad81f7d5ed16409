"""Owners' signatures: Ed25519 (RFC 8032) in flattened JSON JWS (RFC 7515 section 7.2.2, RFC 8037).

One algorithm, one serialization, everything in the protected header. What a JWS may say about its own
verification (`jwk`, `jku`, `x5c`, `b64`, `crit`, another `alg`) is refused before any cryptography.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc import jws as jose
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jwk import OKPKey
from joserfc.jws import JWSRegistry
from joserfc.registry import HeaderParameter

from confide.canonical import sha256_hex
from confide.errors import InvalidFormat, Misuse, SignatureRefused

ALGORITHM = "EdDSA"
MAX_HEADER_BYTES = 2048
"""Of the protected header as it travels, base64url."""

_HEADER_NAMES = frozenset({"alg", "kid", "typ", "cty", "nonce", "url", "aud"})
_MEMBERS = frozenset({"protected", "payload", "signature"})
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


@dataclass(frozen=True)
class VerifiedJws:
    """What a verified JWS says.

    Attributes:
        kid: whose key signed it, as `keys` named it.
        header: the whole protected header.
        payload: the signed bytes.
    """

    kid: str
    header: Mapping[str, str]
    payload: bytes


def generate_signing_key() -> Ed25519PrivateKey:
    """Return a fresh Ed25519 private key."""
    return Ed25519PrivateKey.generate()


def raw_private(key: Ed25519PrivateKey) -> bytes:
    """Return the 32 raw bytes of a private key (RFC 8032 section 5.1.5)."""
    return key.private_bytes_raw()


def raw_public(key: Ed25519PublicKey) -> bytes:
    """Return the 32 raw bytes of a public key."""
    return key.public_bytes_raw()


def private_key_from_raw(raw: bytes) -> Ed25519PrivateKey:
    """Return the private key of 32 raw bytes.

    Raises:
        InvalidFormat: another length.
    """
    try:
        return Ed25519PrivateKey.from_private_bytes(raw)
    except ValueError:
        raise InvalidFormat("an Ed25519 private key has 32 bytes") from None


def public_key_from_raw(raw: bytes) -> Ed25519PublicKey:
    """Return the public key of 32 raw bytes.

    Raises:
        InvalidFormat: another length.
    """
    try:
        return Ed25519PublicKey.from_public_bytes(raw)
    except ValueError:
        raise InvalidFormat("an Ed25519 public key has 32 bytes") from None


def key_id(public_key: Ed25519PublicKey) -> str:
    """Return the SHA-256 of the raw public key, 64 hex digits."""
    return sha256_hex(raw_public(public_key))


def sign_jws(private_key: Ed25519PrivateKey, payload: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    """Sign `payload`.

    Args:
        private_key: the signer's key.
        payload: any bytes.
        headers: `kid` and `typ`, and `cty`, `nonce`, `url`, `aud` where the protocol has them; `alg` is added.

    Returns:
        `{"payload", "protected", "signature"}`, each base64url: RFC 7515 section 7.2.2.

    Raises:
        Misuse: a header that `verify_jws` would refuse.
    """
    protected = {**headers, "alg": ALGORITHM}
    if "kid" not in headers or "typ" not in headers or not protected.keys() <= _HEADER_NAMES:
        raise Misuse(
            f"headers of a signature are kid, typ and any of cty, nonce, url, aud; got {sorted(headers)}"
        )
    registry = _Registry(_base64_length(len(payload)))
    try:
        signed = jose.serialize_json({"protected": protected}, payload, _jwk(private_key), registry=registry)
    except JoseError as error:
        raise Misuse(f"cannot sign with these headers: {error.error}") from None
    if len(signed["protected"]) > MAX_HEADER_BYTES:
        raise Misuse("headers of a signature are too long")
    return dict(signed)


def open_jws(
    jws: Mapping[str, Any], keys: Mapping[str, Ed25519PublicKey], typ: str, max_bytes: int
) -> VerifiedJws:
    """Verify a flattened JWS.

    1. It has the members `protected`, `payload`, `signature`, base64url text within their sizes, no other.
    2. The protected header has names from `alg`, `kid`, `typ`, `cty`, `nonce`, `url`, `aud`, each once, all text.
    3. `alg` is EdDSA.
    4. `typ` is the one expected, so that a signature made for one purpose does not serve another.
    5. `kid` names one of `keys`.
    6. The signature verifies under that key.

    Args:
        jws: as parsed from JSON; nothing in it is trusted.
        keys: the keys that are acceptable here, by kid.
        typ: the kind of document expected.
        max_bytes: largest payload accepted, decoded.

    Raises:
        SignatureRefused: any of these fails.
    """
    _check_members(jws, max_bytes)
    header = _parse_header(jws["protected"])
    if header.get("alg") != ALGORITHM:
        raise SignatureRefused(f"signature algorithm is not {ALGORITHM}")
    if header.get("typ") != typ:
        raise SignatureRefused(f"signed for another purpose than {typ!r}")
    kid = header.get("kid", "")
    key = keys.get(kid)
    if key is None:
        raise SignatureRefused(f"signed by a key that is not known here: {kid[:80]!r}")
    registry = _Registry(_base64_length(max_bytes))
    value: jose.FlattenedJSONSerialization = {
        "protected": jws["protected"],
        "payload": jws["payload"],
        "signature": jws["signature"],
    }
    try:
        verified = jose.deserialize_json(value, _jwk(key), registry=registry)
    except (JoseError, ValueError):
        raise SignatureRefused(f"signature of {kid!r} does not verify") from None
    return VerifiedJws(kid, header, verified.payload)


def verify_jws(
    jws: Mapping[str, Any], keys: Mapping[str, Ed25519PublicKey], typ: str, max_bytes: int
) -> bytes:
    """Verify like `open_jws` and return the payload alone.

    Raises:
        SignatureRefused: see `open_jws`.
    """
    return open_jws(jws, keys, typ, max_bytes).payload


class _Registry(JWSRegistry):
    """joserfc's registry narrowed to EdDSA over Ed25519 and our sizes.

    `get_alg` is overridden because the stock one warns that the name EdDSA is deprecated (RFC 9864) on
    every call; the KBS protocol's tokens and deployed verifiers use this name, and the key's type pins the curve.
    """

    def __init__(self, max_payload_chars: int) -> None:
        text = HeaderParameter("text", "str")
        super().__init__({"nonce": text, "url": text, "aud": text}, algorithms=[ALGORITHM])
        self.max_header_length = MAX_HEADER_BYTES
        self.max_payload_length = max_payload_chars

    def get_alg(self, name: str) -> Any:
        if name != ALGORITHM:
            raise UnsupportedAlgorithmError(name)
        return self.algorithms[name]


def _jwk(key: Ed25519PrivateKey | Ed25519PublicKey) -> OKPKey:
    return OKPKey(key, key)


def _base64_length(size: int) -> int:
    return (size * 4 + 2) // 3


def _check_members(jws: Any, max_bytes: int) -> None:
    if not isinstance(jws, Mapping) or jws.keys() != _MEMBERS:
        raise SignatureRefused("not a flattened JWS with exactly protected, payload and signature")
    limits = {"protected": MAX_HEADER_BYTES, "payload": _base64_length(max_bytes), "signature": 86}
    for name, limit in limits.items():
        value = jws[name]
        if not isinstance(value, str) or len(value) > limit or not _BASE64URL.fullmatch(value):
            raise SignatureRefused(f"{name} of the JWS is not base64url text within its size")


def _parse_header(protected: str) -> dict[str, str]:
    try:
        raw = base64.urlsafe_b64decode(protected + "=" * (-len(protected) % 4))
        pairs = json.loads(raw, object_pairs_hook=list)
    except (ValueError, RecursionError):
        raise SignatureRefused("header of the JWS is not JSON") from None
    if not isinstance(pairs, list) or not all(isinstance(p, tuple) and isinstance(p[1], str) for p in pairs):
        raise SignatureRefused("header of the JWS is not an object of texts")
    header = dict(pairs)
    if len(header) != len(pairs) or not header.keys() <= _HEADER_NAMES:
        raise SignatureRefused("header of the JWS has a name twice or one that is not accepted")
    return header
