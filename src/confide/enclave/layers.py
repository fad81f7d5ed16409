"""Layers: sets of files that images share, kept in a cache so that a second build only links them.

The cache is the builder's convenience and nothing more: the launcher hashes every file of an image again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from confide.canonical import sha256_hex
from confide.enclave.bytecode import compile_tree
from confide.enclave.image import ImageFile
from confide.enclave.libraries import shared_libraries
from confide.errors import InvalidImage, StorageUnavailable

HASH_THREADS = 2
_READ_BYTES = 1024 * 1024
_FORMAT = f"4-{sys.implementation.cache_tag}"  # byte code is of one Python
_TIME_S = 315_619_200  # 1980-01-02, which a zip file can hold too

Source = Path | bytes
"""Where a file's content comes from: a file of the builder's machine, or the content itself."""


@dataclass(frozen=True)
class Layer:
    """A set of files in the cache.

    Attributes:
        root: folder that holds them at their paths inside the enclave.
        files: sorted by path.
        libraries: system libraries that its programs and extension modules load, as paths of the
            builder's machine.
    """

    root: Path
    files: tuple[ImageFile, ...]
    libraries: tuple[str, ...]


def cached_layer(
    cache: Path,
    name: str,
    sources: Mapping[str, Source],
    identity: str | None = None,
    beside: Path | None = None,
) -> Layer:
    """Return the layer of these files, making it if the cache does not have it.

    Args:
        cache: folder of the cache.
        name: for people; part of the folder's name.
        sources: path inside the enclave (no leading '/') -> content.
        identity: what the content follows from; None: places, sizes and times of the sources.
        beside: folder of files that further layers hold: libraries in it are none of the system's.

    Raises:
        InvalidImage: a source is not a regular file.
        StorageUnavailable: the cache cannot be written.
    """
    folder = _folder(cache, name, _key(sources) if identity is None else _identity_key(identity))
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return _load(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as text:
            new = Path(text) / "layer"
            _make(new, sources, beside)
            with contextlib.suppress(OSError):  # somebody else made it meanwhile
                new.rename(folder)
        return _load(folder)
    except OSError as error:
        raise StorageUnavailable(f"layer {name}: {error}") from None


def known_layer(cache: Path, name: str, identity: str) -> Layer | None:
    """Return the layer of this identity if the cache has it."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return _load(_folder(cache, name, _identity_key(identity)))
    return None


def link_files(layers: Iterable[Layer], root: Path) -> None:
    """Put the layers' files below `root`, as hard links where the file system allows it.

    Raises:
        StorageUnavailable: they cannot be written.
    """
    made: set[str] = set()
    try:
        for layer in layers:
            for file in layer.files:
                parent, _, _ = file.path.rpartition("/")
                if parent not in made:
                    (root / parent).mkdir(parents=True, exist_ok=True)
                    made.add(parent)
                source, target = f"{layer.root}/{file.path}", f"{root}/{file.path}"
                try:
                    os.link(source, target)
                except FileExistsError:
                    continue  # the same file in two layers; `build` has compared them
                except OSError:
                    shutil.copy2(source, target)
    except OSError as error:
        raise StorageUnavailable(f"image files in {root}: {error.strerror}") from None


def hash_files(root: Path, paths: Iterable[str]) -> list[ImageFile]:
    """Return size, SHA-256 and executable bit of each file below `root`, in the order given."""
    wanted = list(paths)
    todo = iter(enumerate(wanted))  # each thread takes the next one; `next` is atomic
    found: dict[int, ImageFile] = {}

    def work() -> None:
        for index, path in todo:
            found[index] = _hash_file(f"{root}/{path}", path)

    with ThreadPoolExecutor(HASH_THREADS) as pool:
        for future in [pool.submit(work) for _ in range(HASH_THREADS)]:
            future.result()
    return [found[index] for index in range(len(wanted))]


def set_time(path: Path) -> None:
    """Give a file the time that all files of images have; whatever looks at times finds the same everywhere."""
    os.utime(path, (_TIME_S, _TIME_S))


def _hash_file(name: str, path: str) -> ImageFile:
    # Plain system calls: there are thousands of small files.
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        digest, size = hashlib.sha256(), 0
        while chunk := os.read(descriptor, _READ_BYTES):
            digest.update(chunk)
            size += len(chunk)
            if len(chunk) < _READ_BYTES and size >= status.st_size:
                break
    finally:
        os.close(descriptor)
    executable = bool(status.st_mode & stat.S_IXUSR)
    return ImageFile.model_construct(path=path, size=size, sha256=digest.hexdigest(), executable=executable)


def _folder(cache: Path, name: str, key: str) -> Path:
    return cache / "layers" / f"{name}-{key[:32]}"


def _identity_key(identity: str) -> str:
    return sha256_hex(f"{_FORMAT}\n{identity}".encode())


def _key(sources: Mapping[str, Source]) -> str:
    lines = [_FORMAT]
    for path, source in sorted(sources.items()):
        if isinstance(source, bytes):
            lines.append(f"{path}\0{sha256_hex(source)}")
            continue
        try:
            status = source.stat()
        except OSError as error:
            raise InvalidImage(f"{source}: {error.strerror}") from None
        if not stat.S_ISREG(status.st_mode):
            raise InvalidImage(f"{source} is not a regular file")
        lines.append(f"{path}\0{source}\0{status.st_size}\0{status.st_mtime_ns}\0{status.st_mode & 0o100}")
    return sha256_hex("\n".join(lines).encode())


def _make(folder: Path, sources: Mapping[str, Source], beside: Path | None) -> None:
    root = folder / "root"
    for path, source in sources.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, bytes):
            target.write_bytes(source)
            target.chmod(0o444)
        else:
            shutil.copyfile(source, target)
            target.chmod(0o555 if source.stat().st_mode & stat.S_IXUSR else 0o444)
    root.mkdir(parents=True, exist_ok=True)
    compile_tree(root)
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    for path in paths:
        set_time(root / path)
    originals = [source for source in sources.values() if isinstance(source, Path)]
    libraries = shared_libraries(originals)
    if beside is not None:
        libraries = {text for text in libraries if not Path(text).resolve().is_relative_to(beside.resolve())}
    document = {
        "files": [file.model_dump() for file in hash_files(root, paths)],
        "libraries": sorted(libraries),
    }
    (folder / "layer.json").write_text(json.dumps(document))


def _load(folder: Path) -> Layer:
    document = json.loads((folder / "layer.json").read_bytes())
    files = tuple(ImageFile.model_construct(**file) for file in document["files"])
    return Layer(folder / "root", files, tuple(document["libraries"]))
