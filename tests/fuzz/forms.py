"""Forms in which several things are given to one parser as one input: fuzzers change one run of bytes."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter, ValidationError

_OBJECT = TypeAdapter(dict[str, Any])
_LENGTH_BYTES = 2


def join(*parts: bytes) -> bytes:
    """Return the parts as one: each but the last behind its size (2 bytes, little-endian)."""
    *sized, last = parts
    return b"".join(len(part).to_bytes(_LENGTH_BYTES, "little") + part for part in sized) + last


def split(data: bytes, count: int) -> list[bytes]:
    """Reverse `join`; sizes that are too large take what there is."""
    parts = []
    for _ in range(count - 1):
        end = _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")
        parts.append(data[_LENGTH_BYTES:end])
        data = data[end:]
    return [*parts, data]


def message_object(data: bytes) -> dict[str, Any]:
    """Return an object inside a message, as the messages' models read it; empty where there is none."""
    try:
        return _OBJECT.validate_json(data)
    except ValidationError:
        return {}


def json_object(data: bytes) -> dict[str, Any]:
    """Return an object as the HTTP shells and `confide verify` read one; empty where there is none."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
