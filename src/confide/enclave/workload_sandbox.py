"""Confine the workload's own code within the enclave: it sees neither the data root nor the agent's memory.

A nested bubblewrap with a user namespace of its own, so that no process of the agent or an engine can be
traced from it. It keeps the enclave's PID namespace and `/proc` (a fresh one cannot be mounted in there).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from confide.enclave.image import RUN, SCRATCH, WORK

BWRAP = "/usr/bin/bwrap"
_NOT_AS_IS = frozenset({"proc", "dev", "tmp", "run", WORK.lstrip("/"), SCRATCH.lstrip("/")})


def sandbox_prefix(
    binds: Mapping[str, Path],
    agent_socket: bool = False,
    network: bool = True,
    root: Path = Path("/"),
    shown: Mapping[str, Path] = MappingProxyType({}),
    cwd: str | None = WORK,
) -> list[str]:
    """Return what to put before an argv so that it runs confined.

    Args:
        binds: path inside the sandbox -> folder of the enclave, writable. `/work` is an empty read-only
            folder unless it is among them or `shown`; so is `/scratch`.
        agent_socket: whether the agent socket can be reached.
        network: the enclave's network; without, a new one that holds nothing but its loopback device.
        root: where to look for the image's top-level folders.
        shown: as `binds`, but read-only; those may lie within these.
        cwd: working directory inside the sandbox; None: the caller's.
    """
    argv = [BWRAP, "--unshare-user", *(() if network else ("--unshare-net",))]
    for entry in sorted({path.name for path in root.iterdir()} - _NOT_AS_IS):
        argv += ["--ro-bind", f"/{entry}", f"/{entry}"]
    argv += ["--bind", "/proc", "/proc", "--dev-bind", "/dev", "/dev", "--bind", "/tmp", "/tmp"]  # noqa: S108
    argv += ["--dir", WORK, "--dir", SCRATCH]
    if agent_socket:
        argv += ["--bind", RUN, RUN]
    mounts = [("--ro-bind", *mount) for mount in shown.items()] + [
        ("--bind", *mount) for mount in binds.items()
    ]
    for how, inside, folder in sorted(mounts, key=lambda mount: mount[1]):
        argv += [how, str(folder), inside]
    return [*argv, "--remount-ro", "/", *(() if cwd is None else ("--chdir", cwd)), "--"]
