"""How structures of the TPM 2.0 library are written: big-endian numbers, and bytes behind their size."""

from __future__ import annotations

from confide.errors import InvalidFormat


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
