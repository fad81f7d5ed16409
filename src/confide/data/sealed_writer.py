"""Writing a sealed file: a raw stream that encrypts what is written to it, in constant memory."""

from __future__ import annotations

import io
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from confide.data.sealed_header import SealedHeader, new_header
from confide.data.segments import PLAIN_BYTES, SEGMENT_BYTES, TAG_BYTES, SegmentCipher, plain_start
from confide.keys.material import Keyset
from confide.keys.names import KeyName

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer


class SealedWriter(io.RawIOBase):
    """Seals what is written under `key`. Only `close` makes the file a valid one.

    A `with` block left by an exception, `abort`, and a writer that is merely dropped leave bytes that every
    reader refuses. While a second thread writes one segment, the next one fills and is encrypted.

    Args:
        file: receives the sealed bytes from its present position on.
        keyset: holds `key`.
        key: wraps the file's data key.
        folder: id of the table or folder that the file belongs to, 32 hex digits.
        close_file: whether `file` is closed with the writer.

    Raises:
        UnknownKey, RevokedKey: the key is not held, or was revoked.
        Misuse: `folder` is not an id.
    """

    def __init__(
        self, file: BinaryIO, keyset: Keyset, key: KeyName, folder: str, *, close_file: bool = False
    ) -> None:
        super().__init__()
        self._open = False
        parsed, data_key = new_header(keyset, key, folder)
        self._file, self._close_file = file, close_file
        self._header, self._binding = parsed.header, parsed.binding
        self._cipher = SegmentCipher(data_key, parsed.raw)
        self._segment, self._fill = 0, 0
        self._filling = memoryview(bytearray(PLAIN_BYTES))
        self._following: memoryview | None = None
        self._sealed, self._spare = bytearray(SEGMENT_BYTES), bytearray()
        self._worker: ThreadPoolExecutor | None = None
        self._pending: Future[None] | None = None
        file.write(parsed.raw + self._cipher.header)
        self._bytes_out = len(parsed.raw) + len(self._cipher.header)
        self._open = True

    @property
    def header(self) -> SealedHeader:
        """The file's header."""
        return self._header

    @property
    def binding(self) -> str:
        """What a listing says of the file: SHA-256 of its header, hex."""
        return self._binding

    @property
    def sealed_bytes(self) -> int:
        """Bytes handed to the underlying file; the sealed file's size once the writer is closed."""
        return self._bytes_out

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return how many plaintext bytes were written."""
        return plain_start(self._segment) + self._fill

    def write(self, data: ReadableBuffer) -> int:
        """Take all of `data`. Errors of the underlying file may come with a later call, or with `close`."""
        self._check_open()
        source = memoryview(data).cast("B")
        position = 0
        while position < len(source):
            if self._fill == self._size():  # full, and more follows: so it is not the last one
                self._hand_over()
            step = min(self._size() - self._fill, len(source) - position)
            self._filling[self._fill : self._fill + step] = source[position : position + step]
            self._fill += step
            position += step
        return len(source)

    def write_from(self, file: BinaryIO) -> int:
        """Read once from an unbuffered file, straight into the segment; return the bytes read, 0 at its end."""
        self._check_open()
        read: Callable[[memoryview], int] = file.readinto  # type: ignore[attr-defined]  # BinaryIO lacks it
        if self._fill < self._size():
            count = read(self._filling[self._fill : self._size()])
            self._fill += count
            return count
        if self._following is None:
            self._following = memoryview(bytearray(PLAIN_BYTES))
        count = read(self._following)
        if count:  # more follows: so the full segment is not the last one
            self._hand_over()
            self._filling, self._following, self._fill = self._following, self._filling, count
        return count

    def close(self) -> None:
        """Write the last segment; the file is valid from here on."""
        if not self._open:
            return
        try:
            sealed = self._encrypt(last=True)
            self._wait()
            self._put(sealed)
        finally:
            self._release()

    def abort(self) -> None:
        """Give up: what was written so far stays a file that no reader accepts."""
        if self._open:
            self._release()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort() if error is not None else self.close()

    def __del__(self) -> None:
        self.abort()  # the base class would close, and so complete the file

    def _size(self) -> int:
        return plain_start(self._segment + 1) - plain_start(self._segment)

    def _hand_over(self) -> None:
        sealed = self._encrypt(last=False)
        self._wait()
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "confide-seal")
            self._spare = bytearray(SEGMENT_BYTES)
        self._pending = self._worker.submit(self._put, sealed)
        self._sealed, self._spare = self._spare, self._sealed
        self._segment, self._fill = self._segment + 1, 0

    def _wait(self) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            try:
                pending.result()
            except BaseException:
                self._release()
                raise

    def _encrypt(self, *, last: bool) -> memoryview:
        sealed = memoryview(self._sealed)[: self._fill + TAG_BYTES]
        self._cipher.encrypt(self._segment, last, self._filling[: self._fill], sealed)
        return sealed

    def _put(self, sealed: memoryview) -> None:
        self._file.write(sealed)
        self._bytes_out += len(sealed)

    def _release(self) -> None:
        self._open = False
        try:
            if self._pending is not None:
                wait([self._pending])  # it writes the file
            if self._worker is not None:
                self._worker.shutdown(wait=False)  # not joined, as in `SealedReader.close`
        finally:
            super().close()
            if self._close_file:
                self._file.close()

    def _check_open(self) -> None:
        if not self._open:
            raise ValueError("write to a closed sealed file")
