"""Canonical JSON (RFC 8785): the one way in which documents become bytes that are hashed or signed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import rfc8785

_MAX_INTEGER = 2**53 - 1
_PLAIN = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
"""For values without numbers to format and with ASCII names alone, the standard library's encoder in C writes
the same bytes in less than half the time; the property test in tests/unit/test_canonical.py compares the two."""


def canonical_json(value: Any) -> bytes:
    """Return `value` as RFC 8785 JSON.

    Raises:
        ValueError: for values JSON cannot carry exactly (NaN, integers beyond 2**53, non-string keys).
    """
    return _PLAIN.encode(value).encode() if _is_plain(value) else rfc8785.dumps(value)


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_MAX_INTEGER <= value <= _MAX_INTEGER)
    if kind is dict:
        return all(type(k) is str and k.isascii() and _is_plain(v) for k, v in value.items())
    return (kind is list or kind is tuple) and all(map(_is_plain, value))


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 lower-case hex digits."""
    return hashlib.sha256(data).hexdigest()
