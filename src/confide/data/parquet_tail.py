"""The tail of an encrypted Parquet file: what every other byte of it is authenticated against.

The tail is the file crypto metadata, the encrypted footer, its 4-byte length and the magic `PARE`
(https://github.com/apache/parquet-format/blob/master/Encryption.md, section 5.1). Format of the binding:
docs/formats/listing.md.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from confide.canonical import sha256_hex
from confide.errors import InvalidFormat, NotEncrypted

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

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


class TailRecorder(io.RawIOBase):
    """A Parquet file that is being written, whose tail is taken from the bytes as they pass.

    What is read back may be another file by then: storage is not trusted with what a listing says.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file, self._size, self._last = file, 0, bytearray()
        self._recording = False

    def record(self) -> None:
        """Remember every byte from here on; called before the writer closes, as it then writes the tail."""
        self._recording = True

    def tail(self) -> Tail:
        """Return the tail of the complete file.

        Raises:
            InvalidFormat: what was recorded does not end with an encrypted footer.
        """
        length = int.from_bytes(self._last[-_END_BYTES:-4], "little") + _END_BYTES
        if self._last[-4:] != _MAGIC_ENCRYPTED or length > min(len(self._last), MAX_TAIL_BYTES):
            raise InvalidFormat(
                "a Parquet file was written without an encrypted footer, or with too large a one"
            )
        return Tail(bytes(self._last[-length:]), self._size - length)

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._size

    def write(self, data: ReadableBuffer) -> int:
        """Write all of `data`."""
        view = memoryview(data).cast("B")
        self._file.write(view)
        self._size += len(view)
        if self._recording:
            self._last += view
        return len(view)

    def flush(self) -> None:
        """Flush the underlying file."""
        if not self._file.closed:
            self._file.flush()


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
