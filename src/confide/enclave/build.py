"""Build an image folder out of layers: Python, distributions, locked wheels, Java, system libraries, the program.

Nothing of the builder's environment gets in: argv and environment are fixed here, files come in a fixed
order, and their documents are canonical, so that the same inputs give the same measurement.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from pydantic import ValidationError

from confide.enclave.app_sources import App, read_app
from confide.enclave.few_files import standard_library, time_zones
from confide.enclave.image import (
    IMAGE_FILE,
    PYTHON,
    PYTHON_BINARY,
    ROOT_FOLDER,
    RUN,
    SCRATCH,
    Image,
    ImageFile,
    Limits,
    measurement,
)
from confide.enclave.java_sources import java_files, java_home
from confide.enclave.layers import Layer, Source, cached_layer, link_files
from confide.enclave.libraries import library_sources
from confide.enclave.locked import beside_engine, lock_path, locked_wheels, wheel_layers, with_engine
from confide.enclave.matrix import check_program
from confide.enclave.profile import STREAM, ImageProfile
from confide.enclave.python_sources import (
    distribution_files,
    distribution_of,
    python_files,
    required_distributions,
)
from confide.errors import AlreadyExists, InvalidImage, MissingDependency, StorageUnavailable

SYSTEM_FILES: Mapping[str, Source] = {
    "etc/passwd": b"confide:x:1000:1000:confide:/scratch:/bin/false\n",
    "etc/group": b"confide:x:1000:\n",
    "etc/hosts": b"127.0.0.1 localhost confide\n::1 localhost\n",
    "etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/resolv.conf": b"",  # the launcher binds the host's over it
}
_ENVIRONMENT: Mapping[str, str] = {
    "PATH": f"{PYTHON}/bin:/usr/bin:/bin",
    "HOME": SCRATCH,
    "TMPDIR": SCRATCH,
    "LANG": "C.UTF-8",
    "TZ": "UTC",
    "PYTHONDONTWRITEBYTECODE": "1",
    "PYTHONNOUSERSITE": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # onnxruntime tells its maker of its use, models and failures
    "DO_NOT_TRACK": "true",  # so does MLflow
    "CONFIDE_AGENT": f"{RUN}/agent.sock",
}


@dataclass(frozen=True)
class Recipe:
    """What to build.

    Attributes:
        program: what the user wants to run: a Python program, or what else the profile reads.
        profile: what its images hold.
        name: of the image.
        brokers: name -> what is pinned of the broker.
        role: role in the workload.
        svn: security version number.
        limits: resources; None: the profile's.
        owners: who takes part, besides those that the program names; nobody at all: one owner alone.
        args: regular expressions of further allowed arguments, besides those the program declares.
        includes: files or folders beside the program to take along.
        py_files: modules and archives of modules from anywhere, for Python's path.
        jars: from anywhere, for the class path.
        distributions: distributions besides the profile's and those the program imports.
        java_home: of the Java runtime; None: found on PATH.
        settings: fixed settings besides the profile's.
        libos: library OS that it is to run under; a program that cannot is refused. None: any TEE without one.
    """

    program: Path
    profile: ImageProfile
    name: str
    brokers: Mapping[str, str]
    role: str = "driver"
    svn: int = 0
    limits: Limits | None = None
    owners: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    includes: tuple[Path, ...] = ()
    py_files: tuple[Path, ...] = ()
    jars: tuple[Path, ...] = ()
    distributions: tuple[str, ...] = ()
    java_home: str | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    libos: str | None = None


def build_image(recipe: Recipe, folder: Path, cache: Path) -> Image:
    """Build the image in a new `folder` and return its document.

    Args:
        recipe: what to build.
        folder: must not exist.
        cache: for layers (`default_cache()` is the usual one).

    Raises:
        AlreadyExists: `folder` exists.
        InvalidImage: a part of the recipe makes no image.
        MissingDependency: something that belongs in is not installed.
        StorageUnavailable: a file cannot be written.
    """
    image, layers = _assemble(recipe, cache)
    if not _write(image, layers, folder):
        raise AlreadyExists(f"{folder} exists already")
    return image


def build_cached(recipe: Recipe, cache: Path) -> tuple[Path, Image]:
    """Build the image in the cache, unless it is there; return its folder and document.

    Raises:
        as `build_image`, except AlreadyExists.
    """
    image, layers = _assemble(recipe, cache)
    folder = cache / "images" / measurement(image)
    if not folder.exists():
        _write(image, layers, folder)
    return folder, image


def copy_image(source: Path, target: Path) -> Path:
    """Copy an image folder out of the cache, so that it can be shipped; return `target`.

    Raises:
        AlreadyExists: `target` exists.
        StorageUnavailable: it cannot be written.
    """
    try:
        shutil.copytree(source, target)
    except FileExistsError:
        raise AlreadyExists(f"{target} exists already") from None
    except (OSError, shutil.Error) as error:
        raise StorageUnavailable(f"image in {target}: {error}") from None
    return target


def default_cache(xdg_cache_home: str | None = None) -> Path:
    """Return the folder of the cache; `xdg_cache_home` is the value of `XDG_CACHE_HOME`."""
    return (Path(xdg_cache_home) if xdg_cache_home else Path.home() / ".cache") / "confide"


def _assemble(recipe: Recipe, cache: Path) -> tuple[Image, list[Layer]]:
    if recipe.profile.read_app is not None:
        app = recipe.profile.read_app(recipe.program, recipe.includes)
    else:
        app = read_app(recipe.program, recipe.includes, recipe.py_files, recipe.jars)
    if recipe.libos is not None:
        modules = ((str(path), path.read_bytes()) for path in app.files.values() if _is_module(path))
        check_program(modules, recipe.profile.name, recipe.libos)
    layers = _layers(recipe, app, cache)
    profile = recipe.profile
    try:
        image = Image(
            name=recipe.name,
            profile=profile.name,
            role=recipe.role,
            svn=recipe.svn,
            argv=(PYTHON_BINARY, "-I", "-B", "-m", profile.entry),
            program=app.program,
            env={**_ENVIRONMENT, **profile.env, **_python_path(app)},
            args=() if recipe.role in profile.members else (*app.metadata.args, *recipe.args),
            launch=dict(profile.members.get(recipe.role, profile.launch)),
            settings={**profile.settings, **recipe.settings, **_stream(recipe, app)},
            limits=recipe.limits or profile.limits,
            owners=tuple(sorted({*app.metadata.owners, *recipe.owners})),
            brokers=dict(recipe.brokers),
            files=all_files(layers),
        )
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise InvalidImage(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
    return image, layers


def _python_path(app: App) -> dict[str, str]:
    return {"PYTHONPATH": ":".join(app.python_path)} if app.python_path else {}


def _stream(recipe: Recipe, app: App) -> dict[str, str]:
    """Return the setting of what the program reads itself; none where it declares nothing."""
    if not app.metadata.stream:
        return {}
    if not recipe.profile.streams:
        under = f" under {recipe.libos}" if recipe.libos else ""
        raise InvalidImage(
            f"[tool.confide] stream is not for programs of the profile {recipe.profile.name}{under}"
        )
    return {STREAM: json.dumps(sorted(set(app.metadata.stream)))}


def _is_module(source: Source) -> TypeGuard[Path]:
    return isinstance(source, Path) and source.suffix == ".py"


def _layers(recipe: Recipe, app: App, cache: Path) -> list[Layer]:
    profile = recipe.profile
    layers = _site_layers(recipe, app, cache)  # first, as it refuses most
    python = cached_layer(cache, "python", python_files())
    if recipe.libos is not None:
        layers, python = time_zones(layers, cache), standard_library(python, cache, sys.version_info[:2])
    layers.append(python)
    carried = [Path(folder) for folder in site_folders()]
    if profile.java:
        home = java_home(recipe.java_home)
        carried.append(home)
        layers.append(cached_layer(cache, "java", java_files(home)))
    if profile.files:
        layers.append(cached_layer(cache, "profile", dict(profile.files)))
    layers.append(cached_layer(cache, "programs", program_files(("bwrap", *profile.programs))))
    layers.append(cached_layer(cache, "app", app.files))
    libraries = {library for layer in layers for library in layer.libraries}
    system = {**library_sources(libraries, carried), **SYSTEM_FILES}
    layers.append(cached_layer(cache, "system", system))
    return layers


def _site_layers(recipe: Recipe, app: App, cache: Path) -> list[Layer]:
    """Return the layers of distributions: the engine's, and the program's own, locked where it declares them."""
    profile = recipe.profile
    roots = {*profile.distributions, *recipe.distributions, *app.distributions}
    if app.metadata.dependencies:
        wheels, lock_name = locked_wheels(recipe.program), lock_path(recipe.program).name
    else:
        wheels, lock_name = [], ""
        roots |= {name for module in app.imports if (name := distribution_of(module))}
    if profile.engine is not None:
        wheels = with_engine(wheels, locked_wheels(profile.engine), lock_name)
        lock_name = lock_name or lock_path(profile.engine).name
    taken, names = beside_engine(wheels, required_distributions(sorted(roots)), lock_name)
    own = wheel_layers(taken, recipe.program, cache)
    installed = [cached_layer(cache, name, files) for name in names if (files := distribution_files(name))]
    return [*installed, *own]


def site_folders() -> set[str]:
    """Return the folders of installed distributions: libraries in them are none of the system's."""
    return {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}


def program_files(names: tuple[str, ...]) -> dict[str, Source]:
    """Return programs of the builder's machine, at `usr/bin`.

    Raises:
        MissingDependency: one is not installed.
    """
    files: dict[str, Source] = {}
    for name in names:
        found = shutil.which(name)
        if found is None:
            raise MissingDependency(f"the program {name} is not installed")
        files[f"usr/bin/{Path(found).name}"] = Path(found).resolve()
    return files


def all_files(layers: list[Layer]) -> tuple[ImageFile, ...]:
    """Return the files of all layers, sorted by path.

    Raises:
        InvalidImage: two layers have different files of one path.
    """
    files: dict[str, ImageFile] = {}
    for layer in layers:
        for file in layer.files:
            if files.setdefault(file.path, file) != file:
                raise InvalidImage(f"two different files for /{file.path}")
    return tuple(files[path] for path in sorted(files))


def _write(image: Image, layers: list[Layer], folder: Path) -> bool:
    """Write the image folder as a whole; False if there is one already."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as text:
            new = Path(text) / "image"
            new.mkdir()
            link_files(layers, new / ROOT_FOLDER)
            (new / IMAGE_FILE).write_bytes(image.canonical())
            if folder.exists():
                return False
            os.rename(new, folder)  # noqa: PTH104 - replaces only an empty folder
    except OSError as error:
        raise StorageUnavailable(f"image in {folder}: {error.strerror}") from None
    return True
