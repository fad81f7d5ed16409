"""Reading a sealed file: a seekable raw stream in constant memory; no byte leaves it unauthenticated."""

from __future__ import annotations

import hmac
import io
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, BinaryIO

from confide.data.sealed_header import SealedHeader, read_header
from confide.data.segments import HEADER_BYTES, PLAIN_BYTES, SEGMENT_BYTES, Layout, SegmentCipher, segment_at
from confide.errors import FileChanged, Tampered
from confide.keys.material import Keyset

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class SealedReader(io.RawIOBase):
    """The plaintext of a sealed file.

    Opening authenticates the last segment, and with it the file's size: a file that was cut or extended
    does not open. Every other segment is authenticated before a byte of it is returned. While segments
    are read one after another, a second thread fetches the next one.

    Args:
        file: seekable, the sealed file from its first byte; used by the reader alone while it is open.
        keyset: holds the key that the header names.
        expected_folder: id of the folder the file must belong to.
        expected_binding: binding that the listing gives.
        close_file: whether `file` is closed with the reader.

    Raises:
        NotEncrypted: not a sealed file.
        InvalidFormat: a version or header that this code does not read.
        FileChanged: another file than the listed one, or of another folder.
        Tampered: the data does not authenticate.
        UnknownKey, RevokedKey: its key is not held, or was revoked.
    """

    def __init__(
        self,
        file: BinaryIO,
        keyset: Keyset,
        *,
        expected_folder: str | None = None,
        expected_binding: str | None = None,
        close_file: bool = False,
    ) -> None:
        super().__init__()
        self._file, self._close_file = file, False
        self._worker: ThreadPoolExecutor | None = None
        self._ahead: tuple[int, Future[bytearray]] | None = None
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        parsed = read_header(file)
        if expected_binding is not None and not hmac.compare_digest(parsed.binding, expected_binding):
            raise FileChanged("another sealed file stands in this one's place")
        if expected_folder is not None and parsed.header.folder != expected_folder:
            raise FileChanged("sealed file belongs to another folder")
        data_key = parsed.header.unwrap(keyset)
        self._header, self._binding = parsed.header, parsed.binding
        self._start = len(parsed.raw)
        self._layout = Layout(size - self._start)
        self._cipher = SegmentCipher(data_key, parsed.raw, file.read(HEADER_BYTES))
        self._sealed = memoryview(bytearray(min(SEGMENT_BYTES, self._layout.body_bytes)))
        self._buffers = [bytearray(min(PLAIN_BYTES, self._layout.plain_bytes))]
        self._position = 0
        self._loaded = self._layout.segments - 1
        self._plain = self._load(self._loaded, self._buffers[0])
        self._close_file = close_file  # only now: a refused file stays its caller's to close

    @property
    def header(self) -> SealedHeader:
        """The file's header."""
        return self._header

    @property
    def binding(self) -> str:
        """SHA-256 of the header, hex: what a listing says of the file."""
        return self._binding

    @property
    def size(self) -> int:
        """Size of the plaintext in bytes, authenticated."""
        return self._layout.plain_bytes

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in the plaintext."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position; beyond the end, reads return nothing."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}.get(whence)
        if base is None or base + offset < 0:
            raise ValueError("seek outside the file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill `buffer`, or as much of it as is left. Raises Tampered."""
        if self.closed:
            raise ValueError("read of a closed sealed file")
        out = memoryview(buffer).cast("B")
        done = 0
        while done < len(out) and self._position < self.size:
            segment = segment_at(self._position)
            self._fetch(segment)
            start, end = self._layout.plain_range(segment)
            step = min(len(out) - done, end - self._position)
            offset = self._position - start
            out[done : done + step] = memoryview(self._plain)[offset : offset + step]
            done += step
            self._position += step
        return done

    def readall(self) -> bytes:
        """Return everything from the position to the end."""
        out = bytearray(max(0, self.size - self._position))
        self.readinto(out)
        return bytes(out)

    def close(self) -> None:
        """Release the buffers, the thread, and the file if it is the reader's own.

        The thread is let go and not joined: garbage collection may come here in any thread, in that one or in one that
        holds the lock which joining takes.
        """
        if self.closed:
            return
        try:
            if self._ahead is not None:
                wait([self._ahead[1]])  # it reads the file
            if self._worker is not None:
                self._worker.shutdown(wait=False)
        finally:
            super().close()
            if self._close_file:
                self._file.close()

    def _fetch(self, segment: int) -> None:
        """Make `self._plain` the plaintext of `segment`."""
        if segment == self._loaded:
            return
        sequential = segment == self._loaded + 1 or segment == 0
        ahead, self._ahead = self._ahead, None
        previous, self._loaded = self._plain, -2  # nothing is loaded if the next line raises
        plain = previous if ahead is None else ahead[1].result()
        if ahead is None or ahead[0] != segment:
            plain = self._load(segment, plain)
        self._plain, self._loaded = plain, segment
        if sequential and not self._layout.is_last(segment):
            self._fetch_ahead(segment + 1)

    def _fetch_ahead(self, segment: int) -> None:
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "confide-open")
            self._buffers.append(bytearray(PLAIN_BYTES))
        spare = self._buffers[0] if self._plain is self._buffers[1] else self._buffers[1]
        self._ahead = (segment, self._worker.submit(self._load, segment, spare))

    def _load(self, segment: int, out: bytearray) -> bytearray:
        start, end = self._layout.cipher_range(segment)
        sealed = self._sealed[: end - start]
        self._file.seek(self._start + start)
        if not _read_fully(self._file, sealed):
            raise Tampered("sealed file became shorter while it was read")
        first, last = self._layout.plain_range(segment)
        plain = memoryview(out)[: last - first]
        self._cipher.decrypt(segment, self._layout.is_last(segment), sealed, plain)
        return out


def _read_fully(file: BinaryIO, out: memoryview) -> bool:
    done = 0
    while done < len(out):
        step = file.readinto(out[done:])  # type: ignore[attr-defined]  # BinaryIO lacks it, every file has it
        if not step:
            return False
        done += step
    return True
