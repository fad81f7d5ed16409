"""Files of the Python runtime and of installed distributions that an image takes along."""

from __future__ import annotations

import csv
import importlib.metadata
import re
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

import confide
from confide.enclave.image import PYTHON, SITE
from confide.enclave.layers import Source
from confide.errors import InvalidImage, MissingDependency

_NOT_IN_STDLIB = frozenset(
    [
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idlelib",
        "idle_test",
        "tkinter",
        "turtledemo",
        "turtle.py",
        "ensurepip",
        "lib2to3",
        "venv",
        "pydoc_data",
        "__pycache__",
        "__phello__",
    ]
)
_NOT_IN_SITE_FOLDERS = frozenset({"tests", "__pycache__", "include", "docs", "doc", "licenses", "examples"})
_NOT_IN_SITE_SUFFIXES = [
    ".pyi",
    ".h",
    ".hpp",
    ".hh",
    ".pxd",
    ".pyx",
    ".pxi",
    ".c",
    ".cc",
    ".cpp",
    ".a",
    ".cmake",
    ".pc",
    ".pth",
    ".exe",
    ".cmd",
    ".f90",
    ".f",
    ".rst",
    ".md",
    ".typed",
]
_DIST_INFO = frozenset({"METADATA", "entry_points.txt"})
_NOT_INSIDE = frozenset({"typer", "rich", "starlette", "uvicorn"})
_CODE_AND_ROOTS = (".py", ".pem", ".der")
_NOT_OF_CONFIDE = ("testing/", "cli/", "broker/server")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?[^;]*(?:;(.*))?", re.DOTALL)
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


def python_binary() -> str:
    """Return the path of the Python program inside the enclave."""
    return f"{PYTHON}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"


def python_files() -> dict[str, Source]:
    """Return the standard library and the Python program, path inside the enclave -> source."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    stdlib = Path(sysconfig.get_path("stdlib"))
    home = PYTHON.lstrip("/")
    files: dict[str, Source] = {
        f"{home}/bin/{version}": Path(sys.executable).resolve(),
        f"{home}/lib/{version}/site-packages/confide.pth": SITE.encode() + b"\n",
    }
    for path in _walk(stdlib, _NOT_IN_STDLIB):
        relative = path.relative_to(stdlib).as_posix()
        if not (relative.startswith(("config-", "lib-dynload/_test", "lib-dynload/_tkinter"))):
            files[f"{home}/lib/{version}/{relative}"] = path.resolve()
    return files


def distribution_files(name: str) -> dict[str, Source]:
    """Return the files of one installed distribution, without tests, headers and documents.

    Raises:
        MissingDependency: it is not installed.
        InvalidImage: an editable install of anything but `confide`.
    """
    if _normal(name) == "confide":
        return _confide_files()
    folder = _installed(name)
    site = folder.parent
    files: dict[str, Source] = {}
    for row in csv.reader((folder / "RECORD").read_text("utf-8").splitlines()):
        relative = row[0]
        parts = relative.split("/")
        if relative.startswith(("..", "/")) or relative.endswith(tuple(_NOT_IN_SITE_SUFFIXES)):
            if relative.startswith(("__editable__", "_editable_impl")):
                raise InvalidImage(f"{name} is an editable install; install it as a wheel")
            continue
        if _NOT_IN_SITE_FOLDERS.intersection(parts[:-1]):
            continue
        if parts[0].endswith(".dist-info") and parts[-1] not in _DIST_INFO:
            continue
        path = site / relative
        if path.is_file():
            files[f"{SITE.lstrip('/')}/{relative}"] = path
    return files


def required_distributions(roots: Iterable[str]) -> list[str]:
    """Return the distributions that `roots` (each `name` or `name[extra,...]`) need, and they themselves.

    A requirement that is not installed does not apply here (its marker or extra says so), and is left out;
    so is what only the command line and the broker's server need.

    Raises:
        MissingDependency: one of `roots` is not installed.
    """
    wanted: dict[str, set[str]] = {}
    todo = [(*_split(root), True) for root in roots]
    while todo:
        name, extras, is_root = todo.pop()
        known = wanted.get(name)
        if known is not None and extras <= known:
            continue
        if name in _NOT_INSIDE and not is_root:
            continue
        if name not in _all_installed():
            if is_root:
                raise MissingDependency(f"the Python distribution {name} is not installed")
            continue
        wanted[name] = (known or set()) | extras
        for requirement in importlib.metadata.PathDistribution(_installed(name)).requires or ():
            child, child_extras, marker_extra = _requirement(requirement)
            if child and (marker_extra is None or marker_extra in wanted[name]):
                todo.append((child, child_extras, False))
    return sorted(wanted)


def distribution_of(module: str) -> str | None:
    """Return the installed distribution that the top-level `module` belongs to, if any."""
    return _modules().get(module)


def _confide_files() -> dict[str, Source]:
    package = Path(confide.__file__).resolve().parent
    files: dict[str, Source] = {}
    for path in _walk(package, frozenset({"__pycache__"})):
        relative = path.relative_to(package).as_posix()
        if path.suffix in _CODE_AND_ROOTS and not relative.startswith(_NOT_OF_CONFIDE):
            files[f"{SITE.lstrip('/')}/confide/{relative}"] = path
    return files


def _walk(folder: Path, without: frozenset[str]) -> Iterable[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name in without:
            continue
        if entry.is_dir():
            yield from _walk(entry, without)
        elif entry.suffix != ".pyc":
            yield entry


@cache
def _all_installed() -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for folder in sys.path:
        for path in sorted(Path(folder).glob("*.dist-info")) if folder else ():
            found.setdefault(_normal(path.name.removesuffix(".dist-info").rpartition("-")[0]), path)
    return found


def _installed(name: str) -> Path:
    try:
        return _all_installed()[_normal(name)]
    except KeyError:
        raise MissingDependency(f"the Python distribution {name} is not installed") from None


@cache
def _modules() -> Mapping[str, str]:
    modules: dict[str, str] = {}
    for name, folder in _all_installed().items():
        record = folder / "RECORD"
        for line in record.read_text("utf-8").splitlines() if record.is_file() else ():
            first, slash, _ = line.partition(",")[0].partition("/")
            if not first.endswith((".dist-info", ".pth", ".data")) and first != "..":
                modules.setdefault(first if slash else first.partition(".")[0], name)
    return modules


def _requirement(text: str) -> tuple[str, frozenset[str], str | None]:
    match = _REQUIREMENT.fullmatch(text)
    if not match:
        return "", frozenset(), None
    name, extras = _split(f"{match[1]}[{match[2] or ''}]")
    extra = _EXTRA.search(match[3] or "")
    return name, extras, extra[1] if extra else None


def _split(text: str) -> tuple[str, frozenset[str]]:
    name, _, extras = text.partition("[")
    return _normal(name), frozenset(extra.strip() for extra in extras.rstrip("]").split(",") if extra.strip())


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
