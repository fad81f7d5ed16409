"""What lies in a folder: to tell afterwards what a program wrote."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from confide.errors import Misuse

Snapshot: TypeAlias = Mapping[str, tuple[int, int, int]]
"""Path relative to the folder -> (inode, size, modification time in ns)."""


def snapshot(folder: Path) -> Snapshot:
    """Return the regular files below `folder`; symbolic links are never followed.

    Raises:
        Misuse: something that is neither a folder nor a regular file.
    """
    found: dict[str, tuple[int, int, int]] = {}
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(parent, name)
            status = path.lstat()
            relative = path.relative_to(folder).as_posix()
            if stat.S_ISREG(status.st_mode):
                found[relative] = (status.st_ino, status.st_size, status.st_mtime_ns)
            elif not stat.S_ISDIR(status.st_mode):
                raise Misuse(f"{relative} is neither a folder nor a regular file")
    return found


def changed(before: Snapshot, after: Snapshot) -> set[str]:
    """Return the paths that were added, removed or written."""
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
