"""Where benchmarks work: a cache of generated data, and throw-away folders beside it (on disk, not in memory)."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CHUNK_BYTES = 1024 * 1024


def cache() -> Path:
    """Return `$XDG_CACHE_HOME/confide/bench`, made if it is not there."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "confide" / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield an empty folder beside the cached data; removed at the end."""
    with tempfile.TemporaryDirectory(prefix="work-", dir=cache()) as folder:
        yield Path(folder)


def random_file(size: int) -> Path:
    """Return a cached file of `size` random bytes."""
    path = cache() / f"random-{size}.bin"
    if not path.exists():
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            for start in range(0, size, CHUNK_BYTES):
                file.write(os.urandom(min(CHUNK_BYTES, size - start)))
        partial.rename(path)
    return path


def renew(path: Path) -> None:
    """Remove a file or folder if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
