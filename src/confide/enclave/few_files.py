"""Fewer files in an image for a library OS, which hashes and looks up each of them when it starts.

Two archives take their places, of byte code and data, stored and not compressed, so that reading them takes no library:
Python's standard library, where every Python looks for it first (`lib/python3XX.zip`), and the packages that hold
hundreds of time zones, which are made to be read from archives. Arrow's C++ reads none: it has UTC, and no other zone.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from confide.enclave.bytecode import source_of
from confide.enclave.image import PYTHON, SITE, SITE_ARCHIVE
from confide.enclave.layers import Layer, Source, cached_layer, known_layer
from confide.enclave.python_sources import ZONES, ZONES_PACKAGED

_FORMAT = "2"
_LANDMARK = "os.py"
"""By this file Python finds where it is installed; it stays beside the archive."""
_TZDATA, _PYTZ = f"{SITE}/tzdata/".lstrip("/"), f"{SITE}/pytz/".lstrip("/")
_UTC = f"{ZONES}UTC"
_READS_ARCHIVES = b"importlib.resources"


def standard_library(layer: Layer, cache: Path, version: tuple[int, int]) -> Layer:
    """Return the layer of a Python with the modules of its standard library in one archive.

    Args:
        layer: Python and its standard library.
        cache: for layers.
        version: of that Python.

    Raises:
        StorageUnavailable: the cache cannot be written.
    """
    name = "python-archive"
    identity = _FORMAT + "".join(f"\n{file.path} {file.sha256}" for file in layer.files)
    made = known_layer(cache, name, identity)
    if made is None:
        made = cached_layer(cache, name, _of_standard_library(layer, version), identity=identity)
    return replace(made, libraries=layer.libraries)


def time_zones(layers: list[Layer], cache: Path) -> list[Layer]:
    """Return the layers of distributions with tzdata in an archive, and pytz, if it is one that reads archives.

    Raises:
        StorageUnavailable: the cache cannot be written.
    """
    packages = [_TZDATA, ZONES] + ([_PYTZ] if _pytz_reads_archives(layers) else [])
    moved: dict[str, Path] = {}
    left = []
    for layer in layers:
        inside = [file.path for file in layer.files if file.path.startswith(tuple(packages))]
        moved |= {path: layer.root / path for path in inside}
        gone = moved.keys() - {_UTC}
        left.append(replace(layer, files=tuple(file for file in layer.files if file.path not in gone)))
    if not moved:
        return layers
    archive = _archive({_packaged(path): place for path, place in moved.items()})
    return [*left, cached_layer(cache, "site-archive", {SITE_ARCHIVE.lstrip("/"): archive})]


def _of_standard_library(layer: Layer, version: tuple[int, int]) -> dict[str, Source]:
    home = f"{PYTHON.lstrip('/')}/lib"
    library = f"{home}/python{version[0]}.{version[1]}/"
    compiled = {
        path: source
        for path in (file.path for file in layer.files)
        if path.startswith(library) and (source := source_of(path))
    }
    archive = _archive({path.removeprefix(library): layer.root / path for path in compiled})
    gone = {*compiled, *compiled.values()} - {library + _LANDMARK}
    kept: dict[str, Source] = {
        file.path: layer.root / file.path for file in layer.files if file.path not in gone
    }
    return {**kept, f"{home}/python{version[0]}{version[1]}.zip": archive}


def _archive(files: Mapping[str, Path]) -> bytes:
    """Return an archive of files, with byte code in place of the sources that it was compiled from."""
    sources = {path: source_of(path) for path in files}
    compiled = set(sources.values())
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files.keys() - compiled):
            source = sources[path]
            entry = zipfile.ZipInfo(f"{source}c" if source else path)  # of 1980, like every file of an image
            entry.create_system = 3  # whatever system this is
            archive.writestr(entry, files[path].read_bytes())
    return stream.getvalue()


def _packaged(path: str) -> str:
    """Return where a file lies in its distribution."""
    return path.replace(ZONES, ZONES_PACKAGED).removeprefix(f"{SITE}/".lstrip("/"))


def _pytz_reads_archives(layers: list[Layer]) -> bool:
    path = f"{_PYTZ}__init__.py"
    roots = [layer.root for layer in layers if any(file.path == path for file in layer.files)]
    return bool(roots) and _READS_ARCHIVES in (roots[0] / path).read_bytes()
