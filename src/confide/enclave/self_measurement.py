"""What this very process runs, as one measurement: for evidence of programs that no launcher started, as a broker."""

from __future__ import annotations

import hashlib
from pathlib import Path

import confide
from confide.canonical import canonical_json, sha256_hex
from confide.enclave.python_sources import distribution_files, python_files, required_distributions

_ROOTS = ("confide", "typer", "rich", "starlette", "uvicorn", "packaging")


def measure_self() -> str:
    """Return the SHA-256 (hex) of the canonical list of files: path -> SHA-256.

    The files are those of the Python runtime, of `confide` and of the distributions that it needs, as installed. In a
    confidential VM, whose guest is measured by the hardware, that names what of it answers; anywhere else it is only
    what the process says of itself.
    """
    files = python_files()
    for name in required_distributions(_ROOTS):
        files |= distribution_files(name)
    package = Path(confide.__file__).resolve().parent
    files |= {f"confide/{path.relative_to(package)}": path for path in package.rglob("*.py")}
    return sha256_hex(
        canonical_json({path: hashlib.sha256(_content(source)).hexdigest() for path, source in files.items()})
    )


def _content(source: Path | bytes) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source
