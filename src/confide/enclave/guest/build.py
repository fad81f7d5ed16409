"""Build the guest: the distribution's kernel as it is, and an initrd with this program's launcher in it.

The initrd holds what verifies and starts an image, and no image: Python, what the launcher imports, bubblewrap,
busybox, the kernel's modules. The same inputs give the same bytes.
"""

from __future__ import annotations

import gzip
import io
import shutil
import tempfile
from importlib.resources import files
from pathlib import Path

from confide.canonical import sha256_hex
from confide.enclave.build import SYSTEM_FILES, all_files, program_files, site_folders
from confide.enclave.guest.cpio import Entry, write_cpio
from confide.enclave.guest.kernel import find_kernel
from confide.enclave.guest.request import INITRD, KERNEL
from confide.enclave.image import PYTHON_BINARY
from confide.enclave.layers import Layer, cached_layer
from confide.enclave.libraries import library_sources
from confide.enclave.python_sources import distribution_files, python_files, required_distributions
from confide.errors import AlreadyExists, StorageUnavailable

_IMPORTED = ("cryptography", "dcap-qvl", "httpx", "joserfc", "pydantic", "rfc8785")
"""Distributions that the launcher imports, and no others of confide's."""
_FOLDERS = ("proc", "sys", "tmp", "run", "root", "image", "data")
_BOOT = f"#!{PYTHON_BINARY} -IB\nfrom confide.enclave.guest.boot import main\nmain()\n"
_COMPRESSION = 6


def build_guest(folder: Path, kernel_root: Path, cache: Path) -> dict[str, str]:
    """Build a guest in a new folder; return the SHA-256 (hex) of its `vmlinuz` and `initrd`.

    Args:
        folder: must not exist.
        kernel_root: where the distribution's kernel and modules lie: `/`, or where its package was unpacked.
        cache: for layers.

    Raises:
        AlreadyExists: `folder` exists.
        MissingDependency: kernel, busybox or bubblewrap is not there.
        StorageUnavailable: a file cannot be written.
    """
    kernel = find_kernel(kernel_root)
    initrd = _initrd(kernel.modules, cache)
    content = {KERNEL: kernel.image.read_bytes(), INITRD: initrd}
    if folder.exists():
        raise AlreadyExists(f"{folder} exists already")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".new-") as text:
            new = Path(text) / "guest"
            new.mkdir()
            for name, data in content.items():
                (new / name).write_bytes(data)
            shutil.move(new, folder)
    except OSError as error:
        raise StorageUnavailable(f"guest in {folder}: {error.strerror}") from None
    return {name: sha256_hex(data) for name, data in content.items()}


def _initrd(modules: dict[str, bytes], cache: Path) -> bytes:
    layers = _layers(cache)
    roots = {file.path: layer.root for layer in layers for file in layer.files}
    entries = [
        Entry(file.path, (roots[file.path] / file.path).read_bytes(), file.executable)
        for file in all_files(layers)
    ]
    entries += [Entry(path, content.encode(), executable=True) for path, content in _scripts().items()]
    entries += [Entry(f"modules/{name}.ko", content) for name, content in modules.items()]
    entries.append(Entry("modules/order", "\n".join(modules).encode()))
    raw = io.BytesIO()
    write_cpio(raw, entries, _FOLDERS)
    return gzip.compress(raw.getvalue(), _COMPRESSION, mtime=0)


def _scripts() -> dict[str, str]:
    here = files("confide.enclave.guest")
    read = {"init": "init.sh", "usr/bin/dhcp": "dhcp.sh"}
    return {path: (here / name).read_text() for path, name in read.items()} | {"usr/bin/boot": _BOOT}


def _layers(cache: Path) -> list[Layer]:
    names = ["confide", *required_distributions(_IMPORTED)]
    layers = [cached_layer(cache, name, found) for name in names if (found := distribution_files(name))]
    layers.append(cached_layer(cache, "python", python_files()))
    layers.append(cached_layer(cache, "guest", program_files(("bwrap", "busybox"))))
    libraries = {library for layer in layers for library in layer.libraries}
    system = {**library_sources(libraries, map(Path, site_folders())), **SYSTEM_FILES}
    layers.append(cached_layer(cache, "system", system))
    return layers
