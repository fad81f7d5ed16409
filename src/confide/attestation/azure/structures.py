"""How bytes are written in evidence: structures of the TPM 2.0 library, and base64url."""

from __future__ import annotations

import base64
import re

from confide.errors import InvalidFormat

_BASE64URL = re.compile(r"[A-Za-z0-9_-]*={0,2}")


def base64url(text: str) -> bytes:
    """Return the bytes of base64url text (RFC 4648 section 5), with its padding or without.

    Raises:
        ValueError: it is none.
    """
    if not _BASE64URL.fullmatch(text) or ("=" in text and len(text) % 4):
        raise ValueError("not base64url")
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


class TpmReader:
    """Takes a structure of big-endian numbers, and of bytes behind their size, apart from its front.

    Every method raises InvalidFormat where the structure ends too early.
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        part = self._data[self._at : self._at + size]
        if len(part) != size:
            raise InvalidFormat("TPM structure: truncated")
        self._at += size
        return part

    def number(self, size: int) -> int:
        """Return the next number, of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        """Return the next TPM2B: as many bytes as the two before them say."""
        return self.take(self.number(2))

    def left(self) -> int:
        """Return how many bytes follow."""
        return len(self._data) - self._at
