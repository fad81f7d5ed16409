"""JSON of which one member is signed: its very bytes, since what is written anew need not be what was signed."""

from __future__ import annotations

import re
from json import JSONDecodeError, JSONDecoder

from confide.errors import InvalidFormat

_DECODER = JSONDecoder()
_SPACE = re.compile(r"[ \t\r\n]*")


def signed_member(body: bytes, name: str) -> tuple[str, bytes]:
    """Take `{"<name>": {...}, "signature": "<hex>"}` apart.

    The standard library's decoder reads every key and value, and says where each ends.

    Returns:
        The member's text exactly as it stands there, and the signature.

    Raises:
        InvalidFormat: not JSON in ASCII, or other members than these two, each once.
    """
    try:
        members = _members(body.decode("ascii"))
        signature = _DECODER.decode(members["signature"])
        if members.keys() != {name, "signature"} or not members[name].startswith("{"):
            raise InvalidFormat(f"not an object with {name} and signature alone")
        return members[name], bytes.fromhex(signature)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidFormat(f"not JSON with {name} and its signature") from None


def _members(text: str) -> dict[str, str]:
    """Return the members of the object that `text` is: key -> value as it is written."""
    members: dict[str, str] = {}
    at = _after(text, _space(text, 0), "{")
    while True:
        key, at = _DECODER.raw_decode(text, _space(text, at))
        start = _space(text, _after(text, _space(text, at), ":"))
        _, at = _DECODER.raw_decode(text, start)
        if not isinstance(key, str) or key in members:
            raise JSONDecodeError("not one key", text, start)
        members[key] = text[start:at]
        at = _space(text, at)
        if text[at : at + 1] != ",":
            break
        at += 1
    if _space(text, _after(text, at, "}")) != len(text):
        raise JSONDecodeError("more behind its end", text, at)
    return members


def _space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def _after(text: str, at: int, mark: str) -> int:
    if text[at : at + 1] != mark:
        raise JSONDecodeError(f"no {mark}", text, at)
    return at + 1
