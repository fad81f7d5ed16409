"""Ways in which people write bytes down: hex, base64, base64url, PEM, quoted JSON; one inside another, a few deep."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from confide.errors import InvalidFormat

MAX_INPUT_BYTES = 1024 * 1024
_MAX_DEPTH = 3

_MAX_BLOCKS = 64
_MAX_JSON_PARTS = 150_000
_TEXT = b"\t\n\v\f\r" + bytes(range(0x20, 0x7F))
_SEPARATORS = " \t\n\v\f\r:,"
# Possessive: what is long is looked at once, and nothing of it is remembered.
_HEX = re.compile(r"(?:(?:0[xX])?+[0-9a-fA-F]++(?:[\s:,]++|$))++")
_PAIRS = re.compile(r"(?:(?:0[xX])?+(?:[0-9a-fA-F]{2})++(?:[\s:,]++|$))++")
_PREFIXED = re.compile(r"(?:0[xX][0-9a-fA-F]++(?:[\s:,]++|$)){2,}+")
_PREFIX = re.compile(r"0[xX]")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_BASE64URL = re.compile(r"[A-Za-z0-9_-]+={0,2}")
_DROPPED = dict.fromkeys(map(ord, _SEPARATORS))
_BEGIN, _END = "-----BEGIN ", "-----END "
_PEM = re.compile(r"-----BEGIN ([A-Za-z0-9 _-]{1,48})-----([^-]*)-----END \1-----")


@dataclass(frozen=True)
class Decoded:
    """Bytes, and how they were written down.

    Attributes:
        data: as they are.
        encoding: for people, outermost first, for instance `base64` or `PEM (CERTIFICATE)`; empty: binary.
    """

    data: bytes
    encoding: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """The encoding in a few words."""
        return ", in it ".join(self.encoding) or "binary"


@dataclass(frozen=True)
class Pem:
    """A block of PEM (RFC 7468): its label and what is in it."""

    label: str
    data: bytes


def as_text(data: bytes) -> str | None:
    """Return what is text in ASCII, without a byte order mark; None where it is not. Windows writes UTF-16 too."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data.startswith(b"\xff\xfe"):
        data = data.decode("utf-16", errors="replace").encode("utf-8")
    return data.decode("ascii") if data and not data.translate(None, _TEXT) else None


def decode_text(text: str) -> Decoded:
    """Return the bytes that hex, base64 or base64url stands for; what encodes them again is decoded too.

    Raises:
        InvalidFormat: it is none of these.
    """
    decoded = b""
    encoding: tuple[str, ...] = ()
    inner: str | None = text
    for _ in range(_MAX_DEPTH):
        if inner is None or inner.lstrip()[:1] in ("{", "[", '"', "-"):
            break
        try:
            name, decoded = _decode(inner)
        except InvalidFormat:
            if encoding:  # text that is not an encoding, behind one
                break
            raise
        encoding = (*encoding, name)
        inner = as_text(decoded)
    if not encoding:
        raise InvalidFormat("neither hex nor base64")
    return Decoded(decoded, encoding)


def _decode(text: str) -> tuple[str, bytes]:
    bare = text.strip(_SEPARATORS)
    if _HEX.fullmatch(bare):
        apart = ":" in text or "," in text or _PREFIXED.fullmatch(bare)
        digits = _PREFIX.sub("", bare).translate(_DROPPED)
        if len(digits) % 2 or (apart and not _PAIRS.fullmatch(bare)):
            raise InvalidFormat("hex with an odd number of digits: one is missing or too many")
        return "hex", bytes.fromhex(digits)
    joined = "".join(text.split())
    for name, pattern, altchars in (("base64", _BASE64, b"+/"), ("base64url", _BASE64URL, b"-_")):
        if pattern.fullmatch(joined):
            bare = joined.rstrip("=")
            if len(bare) % 4 == 1 or ("=" in joined and len(joined) % 4):
                raise InvalidFormat(f"{name} of a length that there is not: something of it is missing")
            return name, base64.b64decode(bare + "=" * (-len(bare) % 4), altchars=altchars, validate=True)
    raise InvalidFormat("neither hex nor base64")


def read_pem(text: str) -> list[Pem]:
    """Return the blocks of PEM in a text; none, where there are none.

    Raises:
        InvalidFormat: a block without its end, or that is not base64 inside.
    """
    if _BEGIN not in text:
        return []
    if text.count(_BEGIN) > _MAX_BLOCKS:
        raise InvalidFormat(f"PEM: more than {_MAX_BLOCKS} blocks")
    blocks = [_block(match) for match in _PEM.finditer(text)]
    if len(blocks) != text.count(_BEGIN) or len(blocks) != text.count(_END):
        raise InvalidFormat("PEM: a block without its beginning or its end, or with more than base64 in it")
    before, after = text[: text.index(_BEGIN)], text[text.rindex(_END) :].split("-----", 2)[2]
    if after.strip() or (
        before.strip() and blocks[0].label != "CERTIFICATE"
    ):  # openssl writes text before those
        raise InvalidFormat("PEM: something else stands beside it")
    return blocks


def _block(match: re.Match[str]) -> Pem:
    body = "".join(match[2].split())
    try:
        return Pem(match[1], base64.b64decode(body, validate=True))
    except ValueError:
        raise InvalidFormat(f"PEM: the block {match[1]} is not base64 inside") from None


def read_json(text: str) -> Any:
    """Return what JSON says. Duplicate members, NaN, what nests too deeply and what has too many parts are refused.

    Raises:
        InvalidFormat: not JSON of this kind.
    """
    if text.count(",") + 4 * text.count("{") > _MAX_JSON_PARTS:  # an object takes as long as some numbers
        raise InvalidFormat("JSON of more parts than evidence has")
    try:
        return json.loads(text, object_pairs_hook=_members, parse_constant=_no_constant)
    except InvalidFormat:
        raise
    except (ValueError, RecursionError) as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidFormat(f"JSON that does not read{where}") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise InvalidFormat("JSON with a member that is there twice")
    return members


def _no_constant(name: str) -> Any:
    raise InvalidFormat(f"JSON with {name}, which is none")


def octets(value: Any) -> bytes:
    """Return bytes that JSON holds as text (hex, base64, base64url) or as an array of numbers.

    Raises:
        InvalidFormat: it holds none.
    """
    if isinstance(value, str):
        return decode_text(value).data
    if isinstance(value, list) and set(map(type, value)) == {int}:  # neither booleans nor anything else
        with contextlib.suppress(ValueError):
            return bytes(value)
    raise InvalidFormat("neither text in base64 or hex nor an array of bytes")


def names_of(value: dict[str, Any]) -> Iterator[str]:
    """Yield the names of an object's members, short enough to be shown."""
    return (name[:40] for name in sorted(value)[:12])
