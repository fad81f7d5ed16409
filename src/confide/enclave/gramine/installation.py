"""What is installed of Gramine on this machine."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from confide.enclave.gramine.manifest import Runtime
from confide.errors import MissingDependency

VERSION = (1, 9)
"""The version whose manifests these are."""

_SECONDS = 60
_C_LIBRARY = re.compile(
    r"(ld-linux-x86-64|lib(anl|c|dl|m|mvec|nsl|nss_[a-z]+|pthread|resolv|rt|util))\.so\.[0-9]+"
)
"""Gramine's other libraries (RA-TLS, secret provisioning) lie in the same folder; nothing here uses them."""
_ASK = 'libos.entrypoint = "-"\nfs.mounts = [{ path = "/", uri = "file:{{ gramine.runtimedir() }}" }]\n'


@dataclass(frozen=True)
class Installation:
    """An installed Gramine.

    Attributes:
        folder: Gramine's own, which holds `libsysdb.so` and the C library.
        runtime: what of it an enclave uses.
    """

    folder: Path
    runtime: Runtime


def find_gramine() -> Installation:
    """Return the installed Gramine, every file of it hashed now.

    Raises:
        MissingDependency: it is not installed, of another version, or without its C library.
    """
    check_version()
    answer = tomllib.loads(run_tool(["gramine-manifest", "-"], _ASK))
    libos = Path(answer["loader"]["entrypoint"]["uri"].removeprefix("file:"))
    libraries = Path(answer["fs"]["mounts"][0]["uri"].removeprefix("file:"))
    if not libraries.is_dir():
        raise MissingDependency(f"Gramine's C library is not installed: {libraries}")
    files = sorted(path for path in libraries.iterdir() if _C_LIBRARY.fullmatch(path.name))
    return Installation(
        folder=libos.parent,
        runtime=Runtime(
            libos=_sha256(libos),
            folder=libraries.relative_to(libos.parent).as_posix(),
            libraries={path.name: _sha256(path) for path in files},
        ),
    )


def check_version(program: str = "gramine-direct") -> str:
    """Return what the program says of its version, if it is the one that manifests are made for.

    Raises:
        MissingDependency: it is not installed, or another version.
    """
    said = run_tool([program, "--version"]).strip()
    found = re.search(r"(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) != VERSION:
        raise MissingDependency(f"{program} says {said!r}; manifests are made for Gramine 1.9")
    return said


def run_tool(command: list[str], text: str | None = None, cwd: Path | None = None) -> str:
    """Run one of Gramine's tools and return what it prints.

    Raises:
        MissingDependency: it is not installed, or fails.
    """
    if shutil.which(command[0]) is None:
        raise MissingDependency(f"{command[0]} is not installed: Gramine 1.9, see gramineproject.io")
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, check=False, timeout=_SECONDS, cwd=cwd
    )
    if done.returncode:
        raise MissingDependency(f"{command[0]} failed: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
