"""A program's own dependencies: from what it declares (PEP 723) and its lock to layers of exactly the locked wheels.

1. The lock beside the program fits what the program declares: uv says so, and gives it as PEP 751 has it.
2. What applies here is a wheel of a package index, for this Python and platform, with its SHA-256.
3. What the image's engine needs too fits the engine, or is the very version that the engine brings.
4. uv fetches the wheels, verifies each against its hash, and unpacks them; nothing of them runs.
"""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from packaging.pylock import Package, PackageWheel, Pylock, PylockSelectError, PylockValidationError
from packaging.utils import InvalidWheelFilename, canonicalize_name
from packaging.version import Version

from confide.enclave.image import SITE
from confide.enclave.layers import Layer, Source, cached_layer, known_layer
from confide.enclave.python_sources import (
    SITE_RULES,
    files_of,
    installed_version,
    recorded,
    requirements_of,
)
from confide.enclave.uv import UvFailed, export_lock, install_wheels, lock_script
from confide.errors import InvalidImage, NotLocked

MAX_LOCK_BYTES = 16 * 1024 * 1024

_SHA256 = re.compile(r"[0-9a-f]{64}")
# No white space, '#', ';', '$' or '{': in a requirements file they would mean something.
_URL = re.compile(r"https?://[A-Za-z0-9._~:/@!&()*+,=%?\[\]-]{1,2000}")


@dataclass(frozen=True)
class LockedWheel:
    """A wheel that a lock names for this machine.

    Attributes:
        name: of the package, normalized.
        version: of the package.
        url: where it lies.
        sha256: of its bytes, 64 hex digits.
    """

    name: str
    version: Version
    url: str
    sha256: str


def lock_path(program: Path) -> Path:
    """Return where the lock of a program lies."""
    return program.with_name(program.name + ".lock")


def lock(program: Path, upgrade: bool = False) -> list[LockedWheel]:
    """Write the lock of a program and return what it takes here.

    Args:
        program: declares dependencies.
        upgrade: take newer versions than those in the present lock.

    Raises:
        NotLocked: no versions fit together, or one has no wheel.
        InvalidImage: a dependency that is not taken.
        MissingDependency: no uv.
    """
    try:
        lock_script(program, upgrade)
    except UvFailed as failed:
        raise NotLocked(f"{program} cannot be locked: {failed}") from None
    return locked_wheels(program)


def locked_wheels(program: Path) -> list[LockedWheel]:
    """Return the wheels of a program's lock for this Python and platform (steps 1 and 2), sorted by name.

    Raises:
        NotLocked: step 1.
        InvalidImage: step 2.
        MissingDependency: no uv.
    """
    path = lock_path(program)
    if not path.is_file():
        raise NotLocked(f"{program} declares dependencies, and there is no {path.name}")
    if path.stat().st_size > MAX_LOCK_BYTES:
        raise InvalidImage(f"{path} is larger than {MAX_LOCK_BYTES} bytes")
    try:
        exported = export_lock(program)
    except UvFailed as failed:
        said = str(failed).partition(" hint:")[0]
        raise NotLocked(
            f"{path.name} does not fit what {program} declares, or does not read: {said}"
        ) from None
    try:
        pylock = Pylock.from_dict(tomllib.loads(exported.decode()))
        wheels = [_wheel(path, package, source) for package, source in pylock.select()]
    except (PylockValidationError, PylockSelectError, InvalidWheelFilename, ValueError) as error:
        raise InvalidImage(f"{path}: {error}") from None
    return sorted(wheels, key=lambda wheel: wheel.name)


def beside_engine(
    wheels: Iterable[LockedWheel], engine: Mapping[str, frozenset[str]], lock_name: str
) -> tuple[list[LockedWheel], list[str]]:
    """Return what to take of a program's wheels, and of the engine's distributions (step 3).

    A package that both need comes from the lock, or from the engine where that has the very same version.

    Args:
        wheels: of the program's lock.
        engine: installed distribution -> extras that are asked for.
        lock_name: for messages.

    Raises:
        InvalidImage: a wheel does not fit what the engine requires, or is `confide` itself.
    """
    taken = {wheel.name: wheel for wheel in wheels}
    if "confide" in taken:
        raise InvalidImage(f"{lock_name}: confide comes with every image; leave it out of the dependencies")
    for name in taken.keys() & engine.keys():
        if taken[name].version == Version(installed_version(name)):
            del taken[name]
    kept = [name for name in engine if name not in taken]
    for name in kept:
        for requirement in requirements_of(name, engine[name]):
            wheel = taken.get(canonicalize_name(requirement.name))
            if wheel and not requirement.specifier.contains(wheel.version, prereleases=True):
                raise InvalidImage(
                    f"{lock_name} has {wheel.name} {wheel.version}, but {name} in the image needs "
                    f"{wheel.name}{requirement.specifier}: declare that among the dependencies, and lock again"
                )
    return list(taken.values()), kept


def with_engine(
    wheels: Iterable[LockedWheel], engine: Iterable[LockedWheel], lock_name: str
) -> list[LockedWheel]:
    """Return a program's wheels and those of an engine that has a lock of its own, sorted by name.

    Raises:
        InvalidImage: they have different versions of a package.
    """
    all_of_them = {wheel.name: wheel for wheel in engine}
    for wheel in wheels:
        known = all_of_them.setdefault(wheel.name, wheel)
        if known.version != wheel.version:
            raise InvalidImage(
                f"{lock_name} has {wheel.name} {wheel.version}, but the engine in the image comes with "
                f"{known.version}: declare {wheel.name}=={known.version} among the dependencies, and lock again"
            )
    return sorted(all_of_them.values(), key=lambda wheel: wheel.name)


def wheel_layers(wheels: list[LockedWheel], program: Path, cache: Path) -> list[Layer]:
    """Return a layer for each wheel, fetching and unpacking them unless the cache has all (step 4).

    Raises:
        InvalidImage: a wheel cannot be fetched, is not the locked one, or has a file that another has differently.
        MissingDependency: no uv.
        StorageUnavailable: the cache cannot be written.
    """
    known = [known_layer(cache, wheel.name, _identity(wheel)) for wheel in wheels]
    if all(known):
        return [layer for layer in known if layer]
    # All of them together, as some load libraries of others.
    with tempfile.TemporaryDirectory(prefix="confide-") as text:
        prefix = Path(text) / "installed"
        requirements = Path(text) / "requirements.txt"
        requirements.write_text("".join(f"{w.name} @ {w.url} --hash=sha256:{w.sha256}\n" for w in wheels))
        try:
            install_wheels(requirements, prefix)
        except UvFailed as failed:
            raise InvalidImage(f"{lock_path(program).name}: {failed}") from None
        folders = _dist_info(prefix)
        sources = {wheel.name: files_of(folders[wheel.name], wheel.name) for wheel in wheels}
        _check_disjoint(folders, sources)
        return [
            cached_layer(cache, wheel.name, sources[wheel.name], identity=_identity(wheel), beside=prefix)
            for wheel in wheels
        ]


def _check_disjoint(folders: Mapping[str, Path], sources: Mapping[str, Mapping[str, Source]]) -> None:
    """Refuse two wheels with different files of one path: which of them is there was a matter of chance."""
    seen: dict[str, tuple[str, str]] = {}
    for name, files in sources.items():
        for path, digest in recorded(folders[name]).items():
            inside = f"{SITE.lstrip('/')}/{path}"
            other, known = seen.setdefault(path, (name, digest)) if inside in files else (name, digest)
            if digest != known:
                raise InvalidImage(f"{other} and {name} have different files for {path}")


def _wheel(lock: Path, package: Package, source: object) -> LockedWheel:
    name = package.name
    if not isinstance(source, PackageWheel):
        raise InvalidImage(
            f"{lock}: {name} has no wheel on an index for this Python and platform, and is not built here: that would "
            f"run its code, and give other files each time"
        )
    sha256, url = source.hashes.get("sha256", ""), source.url or ""
    if package.version is None or not _SHA256.fullmatch(sha256):
        raise InvalidImage(f"{lock}: {name} has no version or no SHA-256")
    if not _URL.fullmatch(url):
        raise InvalidImage(f"{lock}: {name} does not lie on a package index: {url or source.path}")
    return LockedWheel(name, package.version, url, sha256)


def _identity(wheel: LockedWheel) -> str:
    return f"{wheel.sha256}\n{SITE_RULES}"


def _dist_info(prefix: Path) -> dict[str, Path]:
    folders: dict[str, Path] = {}
    for path in prefix.rglob("*"):
        if path.is_symlink():
            raise InvalidImage(f"a wheel holds a symbolic link: {path.relative_to(prefix)}")
    for path in prefix.glob("**/*-packages/*.dist-info"):
        name = canonicalize_name(path.name.removesuffix(".dist-info").rpartition("-")[0])
        if name not in folders or len(path.parts) < len(folders[name].parts):
            folders[name] = path
    return folders
