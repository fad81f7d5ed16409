"""The tail of an encrypted Parquet file: what every other byte of it is authenticated against.

The tail is the file crypto metadata, the encrypted footer, its 4-byte length and the magic `PARE`
(https://github.com/apache/parquet-format/blob/master/Encryption.md, section 5.1). Format of the binding:
docs/formats/listing.md.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import BinaryIO

from confide.canonical import sha256_hex
from confide.errors import InvalidFormat, NotEncrypted

MAX_TAIL_BYTES = 256 * 1024 * 1024
_MAGIC_ENCRYPTED, _MAGIC_PLAIN = b"PARE", b"PAR1"
_END_BYTES = 8


@dataclass(frozen=True)
class Tail:
    """The tail's bytes, and where it starts in its file."""

    data: bytes
    start: int

    @property
    def size(self) -> int:
        """Size of the whole file."""
        return self.start + len(self.data)

    @property
    def binding(self) -> str:
        """SHA-256 of the tail, hex."""
        return sha256_hex(self.data)


def read_tail(file: BinaryIO) -> Tail:
    """Read the tail of an encrypted Parquet file.

    Raises:
        NotEncrypted: a plain Parquet file, or one with a plain footer.
        InvalidFormat: not a Parquet file, or cut short.
    """
    file.seek(0)
    start = file.read(4)
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_BYTES))
    end = file.read(_END_BYTES)
    if end[-4:] == _MAGIC_PLAIN:
        raise NotEncrypted("a Parquet file whose footer is not encrypted")
    if end[-4:] != _MAGIC_ENCRYPTED and start != _MAGIC_ENCRYPTED:
        raise NotEncrypted("not an encrypted Parquet file")
    if len(end) < _END_BYTES or end[-4:] != start:
        raise InvalidFormat("an encrypted Parquet file that is cut short")
    length = int.from_bytes(end[:4], "little") + _END_BYTES
    if length + 4 > size or length > MAX_TAIL_BYTES:
        raise InvalidFormat("an encrypted Parquet file with an impossible footer length")
    file.seek(size - length)
    data = file.read(length)
    if len(data) != length:
        raise InvalidFormat("an encrypted Parquet file that changed while it was read")
    return Tail(data, size - length)


class TailedFile(io.RawIOBase):
    """A Parquet file whose tail comes from memory: what was verified is what is parsed.

    Storage may change under a reader; everything before the tail authenticates against the tail, and the
    tail no longer comes from there.
    """

    def __init__(self, file: BinaryIO, tail: Tail) -> None:
        super().__init__()
        self._file, self._tail, self._position = file, tail, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._tail.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes; less only at the end (or where storage lost some)."""
        end = self._tail.size if size < 0 else min(self._tail.size, self._position + size)
        data = b""
        if self._position < min(end, self._tail.start):
            self._file.seek(self._position)
            data = self._file.read(min(end, self._tail.start) - self._position)
            self._position += len(data)
        if self._position >= self._tail.start:
            rest = self._tail.data[self._position - self._tail.start : max(0, end - self._tail.start)]
            self._position += len(rest)
            data = data + rest if data else rest
        return data

    def close(self) -> None:
        """Close the underlying file."""
        if not self.closed:
            super().close()
            self._file.close()
