"""The user's program: the file, the modules beside it that it imports, and what it declares about itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from confide.enclave.image import APP
from confide.enclave.layers import Source
from confide.enclave.script_metadata import ScriptMetadata, read_metadata
from confide.errors import InvalidImage


@dataclass(frozen=True)
class App:
    """A program and what it needs.

    Attributes:
        program: its path inside the enclave.
        files: path inside the enclave (no leading '/') -> source.
        imports: top-level modules that it imports from elsewhere, the standard library left out.
        metadata: what it declares of itself.
    """

    program: str
    files: dict[str, Source]
    imports: frozenset[str]
    metadata: ScriptMetadata


def read_app(program: Path, includes: Iterable[Path] = ()) -> App:
    """Read a program.

    Args:
        program: a Python file.
        includes: further files or folders to take along; they must lie in the program's folder.

    Raises:
        InvalidImage: not a file, not Python, metadata that is not valid, or an include outside the folder.
    """
    folder = program.parent.resolve()
    paths: set[Path] = set()
    imports: set[str] = set()
    todo = [_file(program)]
    while todo:
        path = todo.pop()
        if path in paths:
            continue
        paths.add(path)
        for module in _imported(path):
            beside = _beside(folder, module)
            todo.extend(beside)
            if not beside:
                imports.add(module)
    for include in includes:
        paths.update(_included(folder, include))
    files: dict[str, Source] = {
        f"{APP.lstrip('/')}/{path.relative_to(folder).as_posix()}": path for path in sorted(paths)
    }
    elsewhere = frozenset(imports - sys.stdlib_module_names)
    return App(f"{APP}/{program.name}", files, elsewhere, read_metadata(program))


def _file(path: Path) -> Path:
    if not path.is_file():
        raise InvalidImage(f"{path} is not a file")
    return path.resolve().parent / path.name if path.is_symlink() else path.resolve()


def _imported(path: Path) -> set[str]:
    if path.suffix != ".py":
        return set()
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        raise InvalidImage(f"{path} is not Python: {error}") from None
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


def _beside(folder: Path, module: str) -> list[Path]:
    if (folder / f"{module}.py").is_file():
        return [folder / f"{module}.py"]
    package = folder / module
    if (package / "__init__.py").is_file():
        return _below(package)
    return []


def _below(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    ]


def _included(folder: Path, include: Path) -> list[Path]:
    path = (folder / include).resolve()
    if not path.is_relative_to(folder) or not path.exists():
        raise InvalidImage(f"{include} is not in the program's folder {folder}")
    return _below(path) if path.is_dir() else [path]
