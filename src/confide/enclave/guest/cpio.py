"""Archives for the kernel's initramfs: cpio in the format "newc", the same bytes for the same files.

Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO

_FOLDER, _FILE, _DEVICE = 0o40755, 0o100644, 0o20600
_EXECUTABLE = 0o111


@dataclass(frozen=True)
class Entry:
    """A file of the archive, at a path without the leading '/'."""

    path: str
    content: bytes
    executable: bool = False


def write_cpio(stream: IO[bytes], entries: Iterable[Entry], folders: Iterable[str]) -> None:
    """Write the archive of these files, of the folders that hold them, of `folders`, and of /dev/console.

    Everything is root's and of no time; the files come in the order given.
    """
    writer = _Writer(stream)
    for folder in ("dev", *folders):
        writer.folder(folder)
    writer.add("dev/console", _DEVICE, device=(5, 1))  # what the first process speaks through
    for entry in entries:
        writer.folder(entry.path.rpartition("/")[0])
        writer.add(entry.path, _FILE | (_EXECUTABLE if entry.executable else 0), entry.content)
    writer.add("TRAILER!!!", 0)


class _Writer:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._number, self._folders = stream, 0, {""}

    def folder(self, path: str) -> None:
        if path not in self._folders:
            self.folder(path.rpartition("/")[0])
            self._folders.add(path)
            self.add(path, _FOLDER)

    def add(self, path: str, mode: int, content: bytes = b"", device: tuple[int, int] = (0, 0)) -> None:
        self._number += 1
        name = path.encode() + b"\0"
        fields = (self._number, mode, 0, 0, 1, 0, len(content), 0, 0, *device, len(name), 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
        for part in (head, content):
            self._stream.write(part + b"\0" * (-len(part) % 4))
