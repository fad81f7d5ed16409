"""Tink's AES256-GCM-HKDF-1MB streaming AEAD: segments that decrypt alone, in an order that cannot be changed.

A stream is a sequence of segments of 1 MiB, the last one shorter. The first carries the stream's header:
its length (1 byte, 40), a salt (32) and a nonce prefix (7). The stream's key is
HKDF-SHA-256(ikm=key, salt=salt, info=associated data); segment i is AES-256-GCM under it with the nonce
prefix || i (32 bits, big-endian) || 1 if it is the last, else 0. Cutting, extending or reordering segments
therefore breaks a tag. Specification: https://developers.google.com/tink/wire-format ("AES-GCM-HKDF
streaming AEAD"); docs/formats/sealed-file.md says how sealed files use it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TypeAlias

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from confide.errors import InvalidFormat, Misuse, Tampered

SEGMENT_BYTES = 1 << 20
KEY_BYTES = 32
SALT_BYTES = 32
PREFIX_BYTES = 7
TAG_BYTES = 16
HEADER_BYTES = 1 + SALT_BYTES + PREFIX_BYTES
PLAIN_BYTES = SEGMENT_BYTES - TAG_BYTES
"""Plaintext in every segment but the first, which holds `HEADER_BYTES` less, and the last."""
MAX_SEGMENTS = 2**31 - 1
"""2 PiB; Tink's counter has 32 bits, its Java implementation counts in a signed int."""

Readable: TypeAlias = bytes | bytearray | memoryview


@dataclass(frozen=True)
class Layout:
    """Where the segments of a stream of `body_bytes` lie. All offsets count from the body's first byte."""

    body_bytes: int

    def __post_init__(self) -> None:
        last = self.body_bytes - (self.segments - 1) * SEGMENT_BYTES
        if last < TAG_BYTES + (HEADER_BYTES if self.segments == 1 else 0):
            raise Tampered("sealed file is cut short")
        if self.segments > MAX_SEGMENTS:
            raise InvalidFormat("sealed file has too many segments")

    @property
    def segments(self) -> int:
        """Number of segments, at least 1."""
        return max(1, -(-self.body_bytes // SEGMENT_BYTES))

    @property
    def plain_bytes(self) -> int:
        """Size of the plaintext."""
        return self.body_bytes - HEADER_BYTES - TAG_BYTES * self.segments

    def is_last(self, segment: int) -> bool:
        """Return whether `segment` ends the stream."""
        return segment == self.segments - 1

    def cipher_range(self, segment: int) -> tuple[int, int]:
        """Return start and end of a segment's ciphertext and tag in the body."""
        start = max(segment * SEGMENT_BYTES, HEADER_BYTES)
        return start, min((segment + 1) * SEGMENT_BYTES, self.body_bytes)

    def plain_range(self, segment: int) -> tuple[int, int]:
        """Return start and end of a segment's plaintext in the stream."""
        return plain_start(segment), min(plain_start(segment + 1), self.plain_bytes)


def plain_start(segment: int) -> int:
    """Return the plaintext offset at which `segment` starts."""
    return max(0, segment * PLAIN_BYTES - HEADER_BYTES)


def segment_at(position: int) -> int:
    """Return the segment that holds the plaintext byte at `position`."""
    return (position + HEADER_BYTES) // PLAIN_BYTES


class SegmentCipher:
    """The cipher of one stream. Holds no position: any segment, in any order, from any thread.

    Args:
        key: 32 bytes, the data key (HKDF's input key material).
        associated_data: authenticated with every segment.
        header: of an existing stream, `HEADER_BYTES`; None makes a new one.

    Raises:
        InvalidFormat: `header` is not one of this format.
    """

    def __init__(self, key: bytes, associated_data: bytes, header: bytes | None = None) -> None:
        if len(key) != KEY_BYTES:
            raise Misuse("a stream's key has 32 bytes")
        if header is None:
            header = bytes([HEADER_BYTES]) + os.urandom(SALT_BYTES + PREFIX_BYTES)
        if len(header) != HEADER_BYTES or header[0] != HEADER_BYTES:
            raise InvalidFormat("not a stream header of AES256-GCM-HKDF-1MB")
        self.header = header
        self._prefix = header[1 + SALT_BYTES :]
        salt = header[1 : 1 + SALT_BYTES]
        derived = HKDF(hashes.SHA256(), KEY_BYTES, salt=salt, info=associated_data).derive(key)
        self._aead = AESGCM(derived)

    def encrypt(self, segment: int, last: bool, plaintext: Readable, out: memoryview) -> None:
        """Encrypt a segment into `out`, which has the plaintext's length plus `TAG_BYTES`."""
        if segment >= MAX_SEGMENTS:
            raise Misuse("too much data for one sealed file")
        self._aead.encrypt_into(self._nonce(segment, last), plaintext, None, out)

    def decrypt(self, segment: int, last: bool, ciphertext: Readable, out: memoryview) -> None:
        """Decrypt a segment into `out`, which has the ciphertext's length less `TAG_BYTES`.

        Raises:
            Tampered: the segment does not authenticate; `out` is zeroed.
        """
        try:
            self._aead.decrypt_into(self._nonce(segment, last), ciphertext, None, out)
        except InvalidTag:
            out[:] = bytes(len(out))
            raise Tampered(f"segment {segment} of the sealed file does not authenticate") from None

    def _nonce(self, segment: int, last: bool) -> bytes:
        return self._prefix + segment.to_bytes(4, "big") + (b"\x01" if last else b"\x00")
