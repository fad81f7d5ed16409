"""The file through which executors that others start find their driver: its run writes it, theirs wait for it.

It lies on storage that both see, and holds what launch parameters say openly. Nobody trusts it: a false one leads to
a driver that is not this job's, which executors notice before they ask for keys.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from confide.broker.mesh_names import JOB, MEMBER
from confide.data.atomic import atomic_file, storage_errors
from confide.enclave.launch import DRIVER
from confide.enclave.run import OnStatus
from confide.errors import Misuse, Unavailable

APPLICATION = "application"
SECONDS = 600.0
"""How long an executor waits for its driver to open a job."""
MAX_BYTES = 4096
_PAUSE_SECONDS = 1.0
_MEMBERS = 10**9
_random = random.SystemRandom()


@contextlib.contextmanager
def told_in(path: Path | None, on_status: OnStatus) -> Iterator[OnStatus]:
    """Yield what a driver's states are told to: `on_status`, and of its job the file, which lies there until the end.

    Args:
        path: of the file; None: there is none.
        on_status: is told every state.

    Raises:
        StorageUnavailable: it cannot be written.
    """
    if path is None:
        yield on_status
        return

    def told(status: Mapping[str, Any]) -> None:
        on_status(status)
        if status.get("state") == "opened":
            _write(path, status)

    path.unlink(missing_ok=True)
    try:
        yield told
    finally:
        path.unlink(missing_ok=True)


def _write(path: Path, opened: Mapping[str, Any]) -> None:
    said = {JOB: opened["job"], DRIVER: opened["driver"], APPLICATION: opened["application"]}
    with storage_errors(f"cannot make {path.parent}"):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, overwrite=True) as file:
        file.write(json.dumps(said).encode() + b"\n")


def wait_for_job(path: Path, seconds: float = SECONDS) -> dict[str, str]:
    """Wait for the file and return the launch parameters of one more executor, its number drawn at random.

    Raises:
        Unavailable: there is none in time.
        Misuse: it is not such a file.
    """
    deadline = time.monotonic() + seconds
    while not path.is_file():
        if time.monotonic() >= deadline:
            raise Unavailable(f"no driver has opened a job: there is no {path}")
        time.sleep(_PAUSE_SECONDS)
    with storage_errors(f"cannot read {path}"), path.open("rb") as file:
        text = file.read(MAX_BYTES + 1)
    try:
        said = json.loads(text) if len(text) <= MAX_BYTES else None
    except ValueError:
        said = None
    if not isinstance(said, dict) or said.keys() != {JOB, DRIVER, APPLICATION}:
        raise Misuse(f"{path} does not say where a driver is")
    # The grammar of the image checks the values.
    return {**{name: str(value) for name, value in said.items()}, MEMBER: str(_random.randrange(1, _MEMBERS))}
