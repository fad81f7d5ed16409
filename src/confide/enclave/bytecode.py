"""Byte code of an image: compiled once, loaded unchecked, because the launcher has verified it.

Files are `__pycache__/*.pyc` with an unchecked source hash (PEP 552), so that Python never falls back on
compiling, nor on byte code that was not measured. They are marshalled in version 2 of the format, which has
no references between objects: the bytes depend on the source alone, not on what the compiling process did
before, and so two builders get the same measurement.
"""

from __future__ import annotations

import importlib.util
import marshal
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

from confide.errors import InvalidImage

_UNCHECKED_HASH = (1).to_bytes(4, "little")
_MARSHAL_VERSION = 2


def compile_source(source: bytes, inside_path: str) -> bytes:
    """Return the `.pyc` of a module that lies at `inside_path` in the enclave.

    Raises:
        SyntaxError, ValueError: it is not Python of this version.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code = compile(source, inside_path, "exec", dont_inherit=True, optimize=0)
    header = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH + importlib.util.source_hash(source)
    return header + marshal.dumps(code, _MARSHAL_VERSION)


def source_of(path: str) -> str | None:
    """Return the path of the source that byte code in a `__pycache__` was compiled from, None for other files."""
    folder, cache, name = path.rpartition("__pycache__/")
    return f"{folder}{name.partition('.')[0]}.py" if cache and name.endswith(".pyc") else None


def without_sources(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield place and path of each file, with byte code alone in the places of the modules that it was compiled from.

    Python finds it there as it finds modules; in a `__pycache__` it looks only where there is a source, too.
    """
    paths = list(paths)
    compiled = {source for path in paths if (source := source_of(path))}
    for path in paths:
        if path not in compiled:
            source = source_of(path)
            yield f"{source}c" if source else path, path


def compile_tree(root: Path, processes: int = 2) -> None:
    """Compile every module below `root`, whose paths are those inside the enclave.

    A file that does not compile stays source only: importing it fails as it would outside.

    Raises:
        InvalidImage: a compiler process failed.
    """
    sources = sorted(root.rglob("*.py"))
    if len(sources) < 50:
        _compile(root, sources)
        return
    command = [sys.executable, "-c", f"from {__name__} import main; main()", str(root), str(processes)]
    children = [subprocess.Popen([*command, str(part)]) for part in range(processes)]
    codes = [child.wait() for child in children]
    if any(codes):
        raise InvalidImage(f"compiling the modules of {root} failed")


def _compile(root: Path, sources: list[Path]) -> None:
    for source in sources:
        inside = "/" + source.relative_to(root).as_posix()
        try:
            compiled = compile_source(source.read_bytes(), inside)
        except (SyntaxError, ValueError, RecursionError):
            continue
        target = Path(importlib.util.cache_from_source(str(source), optimization=""))
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(compiled)
        target.chmod(0o444)


def main() -> None:
    """Compile one part of a tree: arguments are root, number of parts, index of the part."""
    root, parts, part = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    _compile(root, sorted(root.rglob("*.py"))[part::parts])
