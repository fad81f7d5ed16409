"""The workload's output: sealed for whom the policy names, or discarded; never the host's to read."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import select
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from confide.broker.release import Release
from confide.canonical import sha256_hex
from confide.data.listing import TABLE_ID_BYTES
from confide.data.sealed import SealedWriter
from confide.enclave.control import reported_name
from confide.errors import ConfideError, InvalidFormat, StorageUnavailable
from confide.keys.names import KeyName

LOG_FOLDER = "confide-logs"
_CHUNK_BYTES = 64 * 1024
MEMBER = "@"
"""Between a workload's name and a member's in the name of a log: neither can hold it, so no workload is a member."""
_NAME = re.compile(r"(.+)-[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}\.log", re.DOTALL)


def log_id(name: str) -> str:
    """Return the folder id that the log called `name` is sealed with: its workload's, which no data has.

    Raises:
        InvalidFormat: not the name of a log.
    """
    match = _NAME.fullmatch(name)
    if not match:
        raise InvalidFormat(f"not the name of a log: {name}")
    return sha256_hex(f"confide/v1/logs\0{match[1]}".encode())[: 2 * TABLE_ID_BYTES]


def is_member_log(name: str) -> bool:
    """Return whether the log called `name` is that of a member who joined a job."""
    match = _NAME.fullmatch(name)
    return match is not None and MEMBER in match[1]


@contextlib.contextmanager
def workload_output(release: Release, work: Path, member: str = "") -> Iterator[int]:
    """Yield the descriptor for the workload's stdout and stderr.

    What comes in is sealed under the release's `logs` key, in `confide-logs/<workload>-<time>-<random>.log` below the
    data root, of a member of a job `<workload>@<member>-...`; without such a key it is discarded. The file is valid
    once the context is left, by when everything that was written has been sealed, whether or not descriptors are still
    open elsewhere.

    Raises:
        StorageUnavailable: the log cannot be written.
    """
    if release.logs is None:
        discard = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        try:
            yield discard
        finally:
            os.close(discard)
        return
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    name = f"{release.workload}{MEMBER}{member}" if member else release.workload
    path = work / LOG_FOLDER / f"{name}-{stamp}-{secrets.token_hex(4)}.log"
    try:
        path.parent.mkdir(exist_ok=True)
        file = path.open("xb")
    except OSError as error:
        raise StorageUnavailable(f"sealed log {path}: {error.strerror}") from None
    reader, writer = os.pipe2(os.O_CLOEXEC)
    sealed = SealedWriter(
        file, release.keyset(), KeyName.parse(release.logs), log_id(path.name), close_file=True
    )
    stop = threading.Event()
    pump = threading.Thread(target=_pump, args=(reader, sealed, stop), name="sealed-log", daemon=True)
    pump.start()
    try:
        yield writer
    finally:
        stop.set()
        os.close(writer)
        pump.join()
        os.close(reader)
        sealed.close()  # also when the workload failed: that is when its output is wanted


@contextlib.contextmanager
def failure_told(output: int) -> Iterator[None]:
    """Write a failure of the block as a line to `output`, in full: the host is told coarsely only."""
    try:
        yield
    except ConfideError as error:
        write_line(output, f"{reported_name(error)}: {error}")
        raise


def write_line(output: int, text: str) -> None:
    """Write one line of ours among what the workload prints."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    with contextlib.suppress(OSError):
        os.write(output, f"confide: {line}\n".encode(errors="backslashreplace"))


def _pump(reader: int, sealed: SealedWriter, stop: threading.Event) -> None:
    broken = False
    while True:
        ready, _, _ = select.select([reader], [], [], 0.2)
        if not ready:
            if stop.is_set():
                return  # drained; a child that outlived the workload still holds the other end
            continue
        chunk = os.read(reader, _CHUNK_BYTES)
        if not chunk:
            return
        try:
            if not broken:
                sealed.write(chunk)
        except OSError:
            broken = True  # disk full: keep draining, so that the workload does not hang
