"""Files of the Java runtime that an image takes along: no compiler, no sources, no debugger, no desktop."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from confide.enclave.image import JAVA
from confide.enclave.layers import Source
from confide.errors import MissingDependency

_FOLDERS = ("conf", "lib")
_NOT = frozenset(
    [
        "src.zip",
        "ct.sym",
        "jmods",
        "demo",
        "libjdwp.so",
        "libdt_socket.so",
        "libawt_xawt.so",
        "libsplashscreen.so",
        "libjawt.so",
        "jexec",
        "libatk-wrapper.so",
        "libjsound.so",
        "libfontmanager.so",
        "jar.binfmt",
        "libattach.so",
        "libsaproc.so",
    ]
)


def java_home(environment_home: str | None = None) -> Path:
    """Return the folder of the Java installation.

    Args:
        environment_home: value of `JAVA_HOME`, where there is one.

    Raises:
        MissingDependency: there is none.
    """
    if environment_home and (Path(environment_home) / "bin" / "java").is_file():
        return Path(environment_home)
    found = shutil.which("java")
    if found is None:
        raise MissingDependency("Java (17 or newer) is not installed")
    return Path(found).resolve().parent.parent


def java_files(home: Path) -> dict[str, Source]:
    """Return the runtime's files, path inside the enclave -> source; links are resolved.

    Raises:
        MissingDependency: `home` is not a Java runtime.
    """
    prefix = JAVA.lstrip("/")
    if not (home / "lib" / "modules").is_file():
        raise MissingDependency(f"{home} is not a Java runtime (no lib/modules)")
    files: dict[str, Source] = {f"{prefix}/bin/java": (home / "bin" / "java").resolve()}
    if (home / "release").is_file():
        files[f"{prefix}/release"] = (home / "release").resolve()
    for folder in _FOLDERS:
        for path in _walk(home / folder):
            files[f"{prefix}/{path.relative_to(home).as_posix()}"] = path.resolve()
    return files


def _walk(folder: Path) -> Iterable[Path]:
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(set(folders) - _NOT)
        for name in sorted(set(names) - _NOT):
            path = Path(parent) / name
            if path.is_file():  # a dangling link is a part that is not installed
                yield path
