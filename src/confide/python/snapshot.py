"""What lies in a folder: to tell afterwards what a program wrote."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from confide.data.atomic import open_beneath
from confide.errors import Misuse

_BLOCK_BYTES = 1024 * 1024

Snapshot: TypeAlias = Mapping[str, tuple[int, int, int, bytes]]
"""Path relative to the folder -> (inode, size, modification time in ns, SHA-256 of the content, where it counts)."""


def snapshot(folder: Path, contents: Callable[[str], bool]) -> Snapshot:
    """Return the regular files below `folder`; symbolic links are never followed.

    Args:
        folder: to look into.
        contents: from a path to whether its content counts: times alone do not tell of what a program wrote through
            a mapping of the file, and programs set times back.

    Raises:
        Misuse: something that is neither a folder nor a regular file.
        OSError: a folder or file that cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    found: dict[str, tuple[int, int, int, bytes]] = {}
    for parent, folders, names in os.walk(folder, onerror=fail):
        for name in [*folders, *names]:
            path = Path(parent, name)
            status = path.lstat()
            relative = path.relative_to(folder).as_posix()
            if stat.S_ISREG(status.st_mode):
                digest = _digest(folder, relative) if contents(relative) else b""
                found[relative] = (status.st_ino, status.st_size, status.st_mtime_ns, digest)
            elif not stat.S_ISDIR(status.st_mode):
                raise Misuse(f"{relative} is neither a folder nor a regular file")
    return found


def changed(before: Snapshot, after: Snapshot) -> set[str]:
    """Return the paths that were added, removed or written."""
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}


def _digest(folder: Path, path: str) -> bytes:
    digest = hashlib.sha256()
    with open_beneath(folder, path) as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.digest()
