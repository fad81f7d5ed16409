"""The launcher of a verified image: starts it confined by bubblewrap, on a simulated host or in a confidential VM.

It does what a TEE's loader does, in the same order: nothing of the image runs before every file of it was
hashed, and what runs sees the image, its scratch space and the data root, and nothing else of the machine. On a
simulated host that protects nothing. In a confidential VM the launcher is part of the measured guest.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from confide.enclave.attester import serve_evidence
from confide.enclave.image import IMAGE_FILE, RUN, SCRATCH, WORK
from confide.enclave.issuer import Issuer
from confide.enclave.verify import VerifiedImage
from confide.errors import InvalidImage, MissingDependency

INSIDE_IMAGE = "/run/image.json"
MAX_STDERR_BYTES = 64 * 1024

_UID = "1000"
_MIB = 1024 * 1024
_SHARED_MEMORY = "/dev/shm"  # noqa: S108 - the enclave's own
_TMP_BYTES = 64 * _MIB
_RUN_BYTES = 1 * _MIB


class Said(bytearray):
    """What a process has said so far; `ended` is set when it says no more."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = threading.Event()


@dataclass(frozen=True)
class Launched:
    """A started enclave.

    Attributes:
        process: bubblewrap, and the whole PID namespace ends with it; or QEMU.
        control: status lines come from here; shutting down the writing side asks the agent to stop.
        stderr: what the agent said before it asked for keys (afterwards nothing), or a guest's console; grows.
    """

    process: subprocess.Popen[bytes]
    control: socket.socket
    stderr: Said


def launch(
    verified: VerifiedImage,
    parameters: Mapping[str, str],
    tee: str,
    issuer: Issuer,
    data_root: Path,
    scratch_bytes: int,
    scratch_folder: Path | None = None,
) -> Launched:
    """Start a verified image.

    Args:
        verified: the image.
        parameters: launch parameters.
        tee: kind of TEE that the issuer gives evidence of.
        issuer: gives evidence, for this image alone; stays outside.
        data_root: folder of the host that appears as `/work`.
        scratch_bytes: size of the scratch space in memory.
        scratch_folder: scratch space on disk instead.

    Raises:
        MissingDependency: bubblewrap is not installed.
        InvalidImage: the image holds a folder at a place that the launcher needs.
    """
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        raise MissingDependency("images are confined by bubblewrap (bwrap), which is not installed")
    control, inner_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    evidence, inner_evidence = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with inner_control, inner_evidence:
        boot = {
            "tee": tee,
            "launch": dict(parameters),
            "control": inner_control.fileno(),
            "evidence": inner_evidence.fileno(),
        }
        process = subprocess.Popen(
            [
                bwrap,
                *_confinement(verified, data_root, scratch_bytes, scratch_folder),
                "--",
                *verified.image.argv,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(inner_control.fileno(), inner_evidence.fileno()),
            env={},
            cwd="/",
            start_new_session=True,  # Ctrl-C is the runner's to handle
        )
    serve_evidence(evidence, issuer, verified)
    assert process.stdin is not None
    assert process.stderr is not None
    stderr = collect_output(process.stderr)
    with (
        contextlib.suppress(BrokenPipeError),
        process.stdin as stdin,
    ):  # it ended already; its exit code tells
        stdin.write(json.dumps(boot).encode())
    return Launched(process, control, stderr)


@contextlib.contextmanager
def started_by(command: Sequence[str], folder: Path, boot: Mapping[str, object]) -> Iterator[Launched]:
    """Start a library OS in a folder, whose agent inherits nothing but its standard streams; end it afterwards.

    Args:
        command: starts it; nothing in it reaches the agent.
        folder: holds what it reads.
        boot: for the agent, on standard input.
    """
    control, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with inner:
        process = subprocess.Popen(
            command,
            stdin=inner.fileno(),
            stdout=inner.fileno(),
            stderr=subprocess.PIPE,
            cwd=folder,
            start_new_session=True,  # Ctrl-C is the runner's to handle
        )
    assert process.stderr is not None
    with contextlib.suppress(BrokenPipeError):  # it ended already; its exit code tells
        control.sendall(json.dumps(boot).encode() + b"\n")
    yield Launched(process, control, collect_output(process.stderr))


def _confinement(
    verified: VerifiedImage, data_root: Path, scratch_bytes: int, folder: Path | None
) -> list[str]:
    arguments = [
        *("--unshare-user", "--uid", _UID, "--gid", _UID),
        *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", "confide"),
        *("--die-with-parent", "--new-session", "--clearenv"),
    ]
    for name, value in sorted(verified.image.env.items()):
        arguments += ["--setenv", name, value]
    for entry in sorted(path.name for path in verified.root.iterdir()):
        if entry in ("proc", "dev", "tmp", "run", WORK.lstrip("/"), SCRATCH.lstrip("/")):
            raise InvalidImage(f"an image may not hold /{entry}")
        arguments += ["--ro-bind", str(verified.root / entry), f"/{entry}"]
    arguments += ["--ro-bind", str(verified.folder / IMAGE_FILE), INSIDE_IMAGE]
    if (verified.root / "etc" / "resolv.conf").exists() and Path("/etc/resolv.conf").exists():
        arguments += ["--ro-bind", str(Path("/etc/resolv.conf").resolve()), "/etc/resolv.conf"]
    arguments += [
        "--proc",
        "/proc",
        "--dev",
        "/dev",
        *_tmpfs(_SHARED_MEMORY, scratch_bytes),
        "--remount-ro",
        "/dev",
    ]
    arguments += _tmpfs(SCRATCH, scratch_bytes) if folder is None else ["--bind", str(folder), SCRATCH]
    arguments += [*_tmpfs("/tmp", _TMP_BYTES), "--perms", "0700", *_tmpfs(RUN, _RUN_BYTES)]  # noqa: S108
    return [*arguments, "--bind", str(data_root.resolve()), WORK, "--remount-ro", "/", "--chdir", WORK]


def _tmpfs(path: str, size_bytes: int) -> list[str]:
    return ["--size", str(size_bytes), "--tmpfs", path]


def collect_output(stream: IO[bytes]) -> Said:
    """Read what a process says until it ends, in a thread; return the beginning of it, which grows."""
    said = Said()

    def read() -> None:
        try:
            with stream:
                while chunk := os.read(stream.fileno(), 4096):
                    said.extend(chunk[: max(0, MAX_STDERR_BYTES - len(said))])
        finally:
            said.ended.set()

    threading.Thread(target=read, name="output", daemon=True).start()
    return said
