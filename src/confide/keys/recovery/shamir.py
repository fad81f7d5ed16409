"""Shamir's secret sharing of 32 bytes, and commitments by which secret and shares are recognized.

The arithmetic is pycryptodome's (`Crypto.Protocol.SecretSharing`, the field GF(2^128)), which shares 16 bytes: a
secret is two halves, shared independently, and a share is the pair of their points at the same x. Nothing else of
pycryptodome is used. Sharing alone authenticates nothing: a wrong share gives a wrong secret, silently; hence the
commitments. They are SHA-256 over 256 random bits each, so they tell nothing that could be searched for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from confide.errors import MissingDependency

_HALF = 16


def split(secret: bytes, threshold: int, count: int) -> dict[int, bytes]:
    """Return shares of 32 bytes by x, 1 to `count`; any `threshold` of them give back the 32 bytes of `secret`.

    Raises:
        MissingDependency: pycryptodome is not installed.
    """
    shamir = _library()
    first, second = (shamir.split(threshold, count, half) for half in (secret[:_HALF], secret[_HALF:]))
    return {x: one + other for (x, one), (_, other) in zip(first, second, strict=True)}


def combine(shares: Mapping[int, bytes]) -> bytes:
    """Return the secret of exactly as many shares as the threshold was: 32 bytes, wrong if one share is.

    Raises:
        MissingDependency: pycryptodome is not installed.
    """
    shamir = _library()
    halves = [
        shamir.combine([(x, share[part]) for x, share in shares.items()])
        for part in (slice(None, _HALF), slice(_HALF, None))
    ]
    return bytes(halves[0] + halves[1])


def commit_to_root(set_id: str, root: bytes) -> str:
    """Return the commitment to a root key, 64 hex digits."""
    return hashlib.sha256(b"confide/v1/recovery-root" + bytes.fromhex(set_id) + root).hexdigest()


def commit_to_share(set_id: str, index: int, share: bytes) -> str:
    """Return the commitment to a share, 64 hex digits."""
    return hashlib.sha256(
        b"confide/v1/recovery-share" + bytes.fromhex(set_id) + bytes([index]) + share
    ).hexdigest()


def _library() -> Any:
    try:
        from Crypto.Protocol.SecretSharing import Shamir
    except ImportError:
        raise MissingDependency(
            "recovery by several owners needs pycryptodome: install the extra `confide[recovery]`"
        ) from None
    return Shamir
