"""Files of the Python runtime and of installed distributions that an image takes along."""

from __future__ import annotations

import csv
import importlib.metadata
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import confide
from confide.canonical import sha256_hex
from confide.enclave.image import PYTHON, SITE, SITE_ARCHIVE
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
_NOT_IN_SITE_PATHS = ("joblib/test/",)  # a folder `test` may well be part of a package's interface
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
ZONES, ZONES_PACKAGED = "usr/share/zoneinfo/", "tzdata/zoneinfo/"
"""Time zones lie where systems have them: Arrow's C++ looks for them there alone, and Python there first."""
NOT_INSIDE = frozenset({"typer", "rich", "starlette", "uvicorn", "packaging"})
_CODE_AND_ROOTS = (".py", ".pem", ".der")
NOT_OF_CONFIDE = ("cli/", "broker/server")

SITE_RULES = sha256_hex(
    repr(
        (
            sorted(_NOT_IN_SITE_FOLDERS),
            _NOT_IN_SITE_PATHS,
            _NOT_IN_SITE_SUFFIXES,
            sorted(_DIST_INFO),
            ZONES,
        )
    ).encode()
)
"""Changes whenever other files of a distribution are taken along."""


def python_files() -> dict[str, Source]:
    """Return the standard library and the Python program, path inside the enclave -> source."""
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    stdlib = Path(sysconfig.get_path("stdlib"))
    home = PYTHON.lstrip("/")
    files: dict[str, Source] = {
        f"{home}/bin/{version}": Path(sys.executable).resolve(),
        # Debian's interpreter looks for packages in other places than the rest.
        **{
            f"{place.lstrip('/')}/confide.pth": f"{SITE}\n{SITE_ARCHIVE}\n".encode()
            for place in site.getsitepackages([PYTHON])
        },
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
    if canonicalize_name(name) == "confide":
        return _confide_files()
    return files_of(_installed(name), name)


def files_of(folder: Path, name: str) -> dict[str, Source]:
    """Return the files of one distribution, without tests, headers and documents.

    Args:
        folder: its `.dist-info`, beside which the files lie.
        name: for messages.

    Raises:
        InvalidImage: an editable install.
    """
    files: dict[str, Source] = {}
    for relative in recorded(folder):
        parts = relative.split("/")
        if relative.startswith(("..", "/")) or relative.endswith(tuple(_NOT_IN_SITE_SUFFIXES)):
            if relative.startswith(("__editable__", "_editable_impl")):
                raise InvalidImage(f"{name} is an editable install; install it as a wheel")
            continue
        if (
            _NOT_IN_SITE_FOLDERS.intersection(parts[:-1])
            or relative.startswith(_NOT_IN_SITE_PATHS)
            or ".." in parts
        ):
            continue
        if parts[0].endswith(".dist-info") and parts[-1] not in _DIST_INFO:
            continue
        path = folder.parent / relative
        if path.is_file():
            files[_inside(relative)] = path
    return files


def _inside(relative: str) -> str:
    if relative.startswith(ZONES_PACKAGED) and not relative.endswith(".py"):
        return ZONES + relative.removeprefix(ZONES_PACKAGED)
    return f"{SITE.lstrip('/')}/{relative}"


def recorded(folder: Path) -> dict[str, str]:
    """Return path -> hash of a distribution's files, as its `RECORD` has them; paths are not checked."""
    rows = csv.reader((folder / "RECORD").read_text("utf-8").splitlines())
    return {row[0]: row[1] if len(row) > 1 else "" for row in rows if row}


def required_distributions(roots: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the distributions that `roots` (each `name` or `name[extra,...]`) need, and they themselves.

    A requirement that is not installed is left out: it was not wanted here. So is what of `confide` only the command
    line, the builder and the broker's server need.

    Returns:
        name -> extras that are asked for, sorted by name.

    Raises:
        MissingDependency: one of `roots` is not installed.
    """
    wanted: dict[str, frozenset[str]] = {}
    todo = [(Requirement(root), "") for root in roots]
    while todo:
        asked, by = todo.pop()
        name, extras = canonicalize_name(asked.name), frozenset(asked.extras)
        known = wanted.get(name)
        if known is not None and extras <= known:
            continue
        if by == "confide" and name in NOT_INSIDE:
            continue
        if name not in _all_installed():
            if not by:
                raise MissingDependency(f"the Python distribution {name} is not installed")
            continue
        wanted[name] = (known or frozenset()) | extras
        todo += [(requirement, name) for requirement in requirements_of(name, wanted[name])]
    return dict(sorted(wanted.items()))


def requirements_of(name: str, extras: Iterable[str]) -> Iterator[Requirement]:
    """Return what an installed distribution requires here, for these of its extras.

    Raises:
        MissingDependency: it is not installed.
    """
    asked = ["", *extras]
    for text in importlib.metadata.PathDistribution(_installed(name)).requires or ():
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in asked):
            yield requirement


def installed_version(name: str) -> str:
    """Return the version of an installed distribution.

    Raises:
        MissingDependency: it is not installed.
    """
    return importlib.metadata.PathDistribution(_installed(name)).version


def distribution_of(module: str) -> str | None:
    """Return the installed distribution that the top-level `module` belongs to, if any."""
    return _modules().get(module)


def _confide_files() -> dict[str, Source]:
    package = Path(confide.__file__).resolve().parent
    files: dict[str, Source] = {}
    for path in _walk(package, frozenset({"__pycache__"})):
        relative = path.relative_to(package).as_posix()
        if path.suffix in _CODE_AND_ROOTS and not relative.startswith(NOT_OF_CONFIDE):
            files[f"{SITE.lstrip('/')}/confide/{relative}"] = path
    # Of images alone: PyTorch starts this when it is imported, so that ranks send nothing in clear.
    started = b"[torch.backends]\nconfide = confide.training.inside:activate\n"
    files[f"{SITE.lstrip('/')}/confide-{confide.__version__}.dist-info/entry_points.txt"] = started
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
            found.setdefault(canonicalize_name(path.name.removesuffix(".dist-info").rpartition("-")[0]), path)
    return found


def _installed(name: str) -> Path:
    try:
        return _all_installed()[canonicalize_name(name)]
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
