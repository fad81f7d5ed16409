"""Tagged evidence and its claims, in CBOR.

Source: Interoperable RA-TLS X.509 Cert and Evidence Formats, and the same for SGX and TDX (Confidential Computing
Consortium); CBOR tag 60000 (IANA): an Intel TEE quote. Hashes: IANA Named Information Hash Algorithm Registry.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import cbor2

from confide.errors import InvalidFormat

_INTEL_QUOTE = bytes.fromhex("d9ea60")  # tag 60000
_HASHES = {1: "sha256", 7: "sha384", 8: "sha512"}
_PUBKEY_HASH, _NONCE = "pubkey-hash", "nonce"
_MAX_DEPTH = 2


@dataclass(frozen=True)
class Claims:
    """Claims that an attester makes beside its quote, whose report data is their hash.

    Attributes:
        hash_algorithm: number in IANA's registry.
        pubkey_hash: hash of the certificate's key (SubjectPublicKeyInfo, DER).
        nonce: what made them fresh; empty where there is none.
    """

    hash_algorithm: int
    pubkey_hash: bytes
    nonce: bytes = b""

    def name(self, public_key: bytes) -> bool:
        """Return whether they name this key (SubjectPublicKeyInfo, DER)."""
        expected = hashlib.new(_HASHES[self.hash_algorithm], public_key).digest()
        return hmac.compare_digest(self.pubkey_hash, expected)


def read_tagged(data: bytes) -> tuple[bytes, bytes]:
    """Return quote and encoded claims of tagged evidence.

    Raises:
        InvalidFormat: not of this form, or evidence of another kind than an Intel quote.
    """
    if not data.startswith(_INTEL_QUOTE):
        raise InvalidFormat("tagged evidence: not an Intel quote (CBOR tag 60000)")
    match _decoded(data[len(_INTEL_QUOTE) :], "tagged evidence"):
        case [bytes(quote), bytes(claims)]:
            return quote, claims
    raise InvalidFormat("tagged evidence: not an array of quote and claims")


def read_claims(data: bytes) -> Claims:
    """Read claims; those that are not known here are left out.

    Raises:
        InvalidFormat: not a map of text to bytes with a `pubkey-hash` by a hash that is known.
    """
    claims = _decoded(data, "claims")
    if not isinstance(claims, dict) or not all(
        isinstance(name, str) and isinstance(value, bytes) for name, value in claims.items()
    ):
        raise InvalidFormat("claims: not a map of text to bytes")
    if _PUBKEY_HASH not in claims:
        raise InvalidFormat("claims: no pubkey-hash")
    match _decoded(claims[_PUBKEY_HASH], _PUBKEY_HASH):
        case [int(algorithm), bytes(digest)] if not isinstance(algorithm, bool) and algorithm in _HASHES:
            return Claims(algorithm, digest, claims.get(_NONCE, b""))
    raise InvalidFormat("claims: pubkey-hash is not a SHA-256, SHA-384 or SHA-512")


def write_claims(public_key: bytes, nonce: bytes = b"") -> bytes:
    """Return the claims that name a key (SubjectPublicKeyInfo, DER) by its SHA-256."""
    claims = {_PUBKEY_HASH: cbor2.dumps([1, hashlib.sha256(public_key).digest()])}
    return cbor2.dumps(claims | ({_NONCE: nonce} if nonce else {}))


def write_tagged(quote: bytes, claims: bytes) -> bytes:
    """Return tagged evidence."""
    return _INTEL_QUOTE + cbor2.dumps([quote, claims])


class _NoTags(dict[int, Callable[[Any], Any]]):
    """Refuses every tag, those too that the library would act upon: dates, big numbers, expressions, references."""

    def __missing__(self, tag: int) -> Callable[[Any], Any]:
        return _refuse_tag


def _refuse_tag(*_: object) -> NoReturn:
    raise ValueError("a tag")


def _decoded(data: bytes, what: str) -> object:
    """Return what one item says: of definite length, in its shortest form (RFC 8949, section 4.1), without tags.

    Whatever the library reads more generously does not come out of its encoder as it went in.
    """
    try:
        value = cbor2.loads(
            data,
            tag_hook=_refuse_tag,
            semantic_decoders=_NoTags(),
            max_depth=_MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
        encoded = cbor2.dumps(value)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError):
        raise InvalidFormat(f"{what}: not CBOR of this form") from None
    if encoded != data:
        raise InvalidFormat(f"{what}: not CBOR in its shortest form, or followed by more")
    return value
