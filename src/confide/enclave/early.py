"""What an agent in an enclave does before it is large: it makes the key of encrypted mounts, and its children.

Under a library OS a fork copies the parent's memory page by page, each page a mapping of the host's own; those of an
agent with its libraries loaded are more than Linux allows a process. So the children are forked by the first lines of
the entry, wait there with nothing loaded, and become programs when they are told. This module imports next to nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_ORDER_BYTES = 1024 * 1024
_ATTESTATION = Path("/dev/attestation")
_KEY = _ATTESTATION / "keys/scratch"
_KEY_BYTES = 16
_UNSTARTED = 127
_DESCRIPTORS = 1024
_HOST_NAME = "confide"
"""Of every machine, as bubblewrap sets it too; the image's `/etc/hosts` knows it."""


@dataclass(frozen=True)
class EarlyChild:
    """A child that waits to become a program.

    Attributes:
        pid: of the child.
        order: descriptor that takes what it is to become; closing it ends the child.
        stdin: descriptor that takes its standard input.
        stdout: descriptor that gives its standard output.
        stderr: descriptor that gives its standard error.
    """

    pid: int
    order: int
    stdin: int
    stdout: int
    stderr: int


def prepare() -> list[EarlyChild]:
    """Prepare a process that Gramine runs: its measured environment says how many children the profile needs.

    Elsewhere do nothing and return none. Occlum has no fork: there processes start by vfork and posix_spawn alone,
    which copy nothing.

    Raises:
        OSError: Gramine takes no key, or makes no process.
    """
    if os.environ.get("CONFIDE_LIBOS") != "gramine":
        return []
    _set_key()
    return [_fork() for _ in range(int(os.environ["CONFIDE_CHILDREN"]))]


def order(child: EarlyChild, argv: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
    """Have a child become a program."""
    line = json.dumps({"argv": list(argv), "env": dict(env), "cwd": str(cwd)}).encode() + b"\n"
    while line:
        line = line[os.write(child.order, line) :]
    os.close(child.order)


def _set_key() -> None:
    """Give the library OS a new key for this run's encrypted mounts; nobody else ever holds it."""
    descriptor = os.open(_KEY, os.O_WRONLY)
    try:
        os.write(descriptor, os.urandom(_KEY_BYTES))
    finally:
        os.close(descriptor)


def _fork() -> EarlyChild:
    order_out, order_in = os.pipe()
    stdin_out, stdin_in = os.pipe()
    stdout_out, stdout_in = os.pipe()
    stderr_out, stderr_in = os.pipe()
    pid = os.fork()
    if pid == 0:
        for descriptor, place in ((stdin_out, 0), (stdout_in, 1), (stderr_in, 2)):
            os.dup2(descriptor, place)
        _become(order_out)
    for descriptor in (order_out, stdin_out, stdout_in, stderr_in):
        os.close(descriptor)
    return EarlyChild(pid, order_in, stdin_in, stdout_out, stderr_out)


def _set_host_name() -> None:
    """Call the machine by a name that resolves; the host's does not, and the JVM asks for its address."""
    import _socket  # not before the fork

    _socket.sethostname(_HOST_NAME)


def _become(order_out: int) -> None:
    os.closerange(3, order_out)
    os.closerange(order_out + 1, _DESCRIPTORS)
    line = b""
    try:
        while not line.endswith(b"\n") and len(line) <= MAX_ORDER_BYTES:
            part = os.read(order_out, MAX_ORDER_BYTES)
            if not part:
                os._exit(_UNSTARTED)
            line += part
        order = json.loads(line)
        if _ATTESTATION.is_dir():  # elsewhere it would be the machine's own name
            _set_host_name()
        os.chdir(order["cwd"])
        os.execve(order["argv"][0], order["argv"], order["env"])  # noqa: S606
    except BaseException as error:  # noqa: BLE001 - nothing of the agent may run on in its child
        os.write(2, f"confide: a program did not start: {type(error).__name__}\n".encode())
    finally:
        os._exit(_UNSTARTED)
