"""uv, the installer that locks and installs a program's own dependencies (https://docs.astral.sh/uv/).

It is found beside `confide` (the extra `lock`) or on PATH, never downloaded. It is never let run code of a package:
whatever has no wheel is refused (`--no-build`, `--only-binary`).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from confide.errors import MissingDependency

MAX_SAID_CHARS = 1000


class UvFailed(Exception):
    """uv refused; the text is what it said."""


def lock_script(program: Path, upgrade: bool) -> None:
    """Resolve a program's dependencies and write them, with hashes, into the `.lock` beside it.

    Args:
        program: with inline script metadata.
        upgrade: take newer versions than those in the present lock.

    Raises:
        UvFailed: no versions fit together, one has no wheel, or the index cannot be reached.
        MissingDependency: no uv.
    """
    more = ["--upgrade"] if upgrade else []
    _uv(program.parent, "lock", "--no-build", *more, "--script", str(program.absolute()))


def export_lock(program: Path) -> bytes:
    """Return a program's lock as a `pylock.toml` (PEP 751), if it still fits what the program declares.

    Raises:
        UvFailed: there is no lock, it does not read, or the program has changed since.
        MissingDependency: no uv.
    """
    options = ("--locked", "--no-build", "--no-header", "--format", "pylock.toml")
    return _uv(program.parent, "export", *options, "--script", str(program.absolute()))


def install_wheels(requirements: Path, prefix: Path) -> None:
    """Install wheels into `prefix`, each of them verified.

    uv takes its settings (proxies, credentials of an index) from the user, the system and the environment, and not from
    a project that the program lies in: what that overrides is no part of the program's lock.

    Args:
        requirements: lines `name @ URL --hash=sha256:...`, all that is installed; in a folder of no project.
        prefix: new folder.

    Raises:
        UvFailed: one cannot be fetched, or has another hash.
        MissingDependency: no uv.
    """
    options = ("--no-deps", "--require-hashes", "--only-binary", ":all:", "--link-mode", "hardlink")
    where = ("--prefix", str(prefix), "--requirements", str(requirements))
    _uv(requirements.parent, "pip", "install", *options, *where)


def _uv(folder: Path, *arguments: str) -> bytes:
    command = [_find(), *arguments, "--python", sys.executable, "--no-python-downloads", "--quiet"]
    result = subprocess.run(command, cwd=folder, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if result.returncode:
        raise UvFailed(_said(result.stderr.decode(errors="replace").splitlines()))
    return result.stdout


def _said(lines: Sequence[str]) -> str:
    said = " ".join(line.strip() for line in lines if line.strip() and not line.startswith("warning:"))
    return said.removeprefix("error: ")[:MAX_SAID_CHARS]


def _find() -> str:
    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise MissingDependency("uv is not installed, which locks dependencies: pip install 'confide[lock]'")
    return found
