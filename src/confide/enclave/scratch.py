"""Scratch space on disk, for runs that need more than memory: gocryptfs over a folder, its key made for the run.

The key is 32 random bytes that reach gocryptfs over a pipe; on disk there is only what it encrypts. The
folder is deleted at the end; one that a crash left behind holds nothing that anybody could read.
"""

from __future__ import annotations

import contextlib
import ctypes
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from confide.errors import MissingDependency, StorageUnavailable

_MOUNT_SECONDS = 20.0
_PR_SET_PDEATHSIG = 1


@contextlib.contextmanager
def disk_scratch(parent: Path) -> Iterator[Path]:
    """Mount an encrypted scratch folder below `parent` and yield it; unmount and delete it afterwards.

    Raises:
        MissingDependency: gocryptfs or fusermount is not installed, or there is no /dev/fuse.
        StorageUnavailable: it cannot be mounted.
    """
    for program in ("gocryptfs", "fusermount"):
        if shutil.which(program) is None:
            raise MissingDependency(f"scratch space on disk needs {program}, which is not installed")
    if not Path("/dev/fuse").exists():
        raise MissingDependency("scratch space on disk needs /dev/fuse")
    passphrase = secrets.token_hex(32).encode() + b"\n"
    folder = Path(tempfile.mkdtemp(prefix="confide-scratch-", dir=parent))
    cipher, plain = folder / "cipher", folder / "plain"
    mounted: subprocess.Popen[bytes] | None = None
    try:
        cipher.mkdir()
        plain.mkdir()
        # The passphrase is random already: the cheapest key derivation loses nothing.
        _gocryptfs(["-init", "-q", "-scryptn", "10", str(cipher)], passphrase)
        mounted = _mount(cipher, plain, passphrase)
        yield plain
    finally:
        if mounted is not None:
            _unmount(mounted, plain)
        shutil.rmtree(folder, ignore_errors=True)


def _gocryptfs(arguments: list[str], passphrase: bytes) -> None:
    done = subprocess.run(["gocryptfs", *arguments], input=passphrase, capture_output=True, check=False)
    if done.returncode:
        raise StorageUnavailable(f"gocryptfs failed with exit code {done.returncode}")


def _mount(cipher: Path, plain: Path, passphrase: bytes) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        ["gocryptfs", "-q", "-fg", "-nosyslog", str(cipher), str(plain)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=_end_with_parent,
        start_new_session=True,  # Ctrl-C is the launcher's to handle
    )
    assert process.stdin is not None
    process.stdin.write(passphrase)
    process.stdin.close()
    deadline = time.monotonic() + _MOUNT_SECONDS
    while not plain.is_mount():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise StorageUnavailable("gocryptfs did not mount the scratch folder")
        time.sleep(0.01)
    return process


def _unmount(process: subprocess.Popen[bytes], plain: Path) -> None:
    subprocess.run(["fusermount", "-u", "-z", str(plain)], capture_output=True, check=False)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _end_with_parent() -> None:
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
