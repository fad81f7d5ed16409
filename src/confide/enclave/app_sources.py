"""The user's program: the file, the modules beside it that it imports, and what it declares about itself."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from confide.enclave.image import APP, JARS, PY_FILES
from confide.enclave.layers import Source
from confide.enclave.script_metadata import ScriptMetadata, read_metadata
from confide.errors import InvalidImage

ARCHIVES = (".zip", ".egg")
_TRAINING = "confide.training"
_EXPORT = ("onnxscript", "safetensors")
BROUGHT: Mapping[str, tuple[str, ...]] = {
    f"{_TRAINING}.export": _EXPORT,
    f"{_TRAINING}.export_model": _EXPORT,
    "torch.utils.tensorboard": ("tensorboard",),
}
"""What a program imports -> modules that this needs besides what its own distribution requires."""


@dataclass(frozen=True)
class App:
    """A program and what it needs.

    Attributes:
        program: its path inside the enclave.
        files: path inside the enclave (no leading '/') -> source.
        imports: top-level modules that it imports from elsewhere, the standard library left out.
        metadata: what it declares of itself.
        python_path: where further modules lie, inside the enclave.
        distributions: installed ones that it needs, besides those of its imports.
    """

    program: str
    files: dict[str, Source]
    imports: frozenset[str]
    metadata: ScriptMetadata
    python_path: tuple[str, ...] = ()
    distributions: frozenset[str] = frozenset()


def read_app(
    program: Path,
    includes: Iterable[Path] = (),
    py_files: Iterable[Path] = (),
    jars: Iterable[Path] = (),
) -> App:
    """Read a program.

    Args:
        program: a file of Python, of SQL, a jar, or the configuration of a server.
        includes: further files or folders to take along; they must lie in the program's folder.
        py_files: modules (`.py`) and archives of modules (`.zip`, `.egg`) from anywhere.
        jars: for the class path, from anywhere.

    Raises:
        InvalidImage: not a file, not Python, metadata that is not valid, an include outside the folder, or py_files or
            jars of another kind or of one name.
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
    modules = _elsewhere("--py-files", py_files, PY_FILES, (".py", *ARCHIVES))
    own = {path.stem for path in modules.values() if path.suffix == ".py"}
    for path in modules.values():
        imports |= _imported(path)
    files |= modules | _elsewhere("--jars", jars, JARS, (".jar",))
    archives = [f"/{inside}" for inside, path in modules.items() if path.suffix in ARCHIVES]
    return App(
        program=f"{APP}/{program.name}",
        files=files,
        imports=frozenset(imports - own - sys.stdlib_module_names),
        metadata=ScriptMetadata() if program.suffix == ".jar" else read_metadata(program),
        python_path=(PY_FILES, *archives) if modules else (),
    )


def _elsewhere(option: str, paths: Iterable[Path], folder: str, kinds: tuple[str, ...]) -> dict[str, Path]:
    """Return path inside the enclave -> file, for files from anywhere."""
    files: dict[str, Path] = {}
    for path in paths:
        if path.suffix not in kinds or not path.is_file():
            raise InvalidImage(f"{option} {path}: give files that end in {', '.join(kinds)}")
        inside = f"{folder.lstrip('/')}/{path.name}"
        if inside in files:
            raise InvalidImage(f"{option}: two files are called {path.name}")
        files[inside] = _file(path)
    return files


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
    dotted: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            dotted.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            dotted.update((node.module, *(f"{node.module}.{alias.name}" for alias in node.names)))
    if any(
        name.partition(".")[0] == "confide" for name in dotted
    ):  # `from confide import training`, and so on
        dotted.update(
            f"{_TRAINING}.{node.attr}" for node in ast.walk(tree) if isinstance(node, ast.Attribute)
        )
        dotted.update(f"{_TRAINING}.{node.id}" for node in ast.walk(tree) if isinstance(node, ast.Name))
    brought = (module for name in dotted for module in BROUGHT.get(name, ()))
    return {name.partition(".")[0] for name in dotted}.union(brought)


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
