"""Canonical JSON (RFC 8785): the one way in which documents become bytes that are hashed or signed."""

from __future__ import annotations

import hashlib
from typing import Any

import rfc8785


def canonical_json(value: Any) -> bytes:
    """Return `value` as RFC 8785 JSON.

    Raises:
        ValueError: for values JSON cannot carry exactly (NaN, integers beyond 2**53, non-string keys).
    """
    return rfc8785.dumps(value)


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()
