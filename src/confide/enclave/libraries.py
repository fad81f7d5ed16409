"""System libraries that programs and extension modules load, as the dynamic loader resolves them."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from confide.errors import MissingDependency

_RESOLVED = re.compile(r"^\s+(?:\S+ => )?(/.+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_BATCH = 200


def shared_libraries(files: Iterable[Path]) -> set[str]:
    """Return the paths of all libraries that the ELF files among `files` load, directly or not.

    Raises:
        MissingDependency: `ldd` is not installed.
    """
    elf = [str(file) for file in files if _is_elf(file)]
    found: set[str] = set()
    for start in range(0, len(elf), _BATCH):
        try:
            # ldd fails for static programs, and says so; its other lines still count.
            result = subprocess.run(
                ["ldd", *elf[start : start + _BATCH]],
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise MissingDependency("ldd is not installed") from None
        found.update(_RESOLVED.findall(result.stdout))
    return found


def library_sources(libraries: Iterable[str], carried: Iterable[Path]) -> Mapping[str, Path]:
    """Return path inside the enclave -> library.

    A library keeps its own path. One that belongs to a Python installed under a prefix of its own goes
    beside the C library, where the loader looks in any case.

    Args:
        libraries: as `shared_libraries` resolved them.
        carried: folders whose libraries other layers carry (site-packages, Java).
    """
    libraries = sorted(libraries)
    beside = next((str(Path(text).parent) for text in libraries if Path(text).name == "libc.so.6"), "/lib")
    folders = [str(folder.resolve()) + "/" for folder in carried]
    prefix = sys.base_prefix.rstrip("/") + "/"
    sources: dict[str, Path] = {}
    for text in libraries:
        path = Path(text)
        if any(str(path.resolve()).startswith(folder) for folder in folders):
            continue
        inside = f"{beside}/{path.name}" if prefix != "/usr/" and text.startswith(prefix) else text
        sources[inside.lstrip("/")] = path.resolve()
    return sources


def _is_elf(file: Path) -> bool:
    if file.suffix in (".py", ".jar", ".txt", ".json", ".dat", ".parquet"):
        return False
    with file.open("rb") as stream:
        return stream.read(4) == b"\x7fELF"
