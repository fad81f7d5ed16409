"""The Python profile: an ordinary program between decrypted inputs and outputs that get encrypted.

The program sees its declared inputs in clear under `/work`, in the enclave's memory, and writes its declared
outputs beside them. The host's files lie out of its reach. Only when it exits 0 are outputs encrypted and
committed; otherwise they vanish with the enclave, and what lay on storage before stays as it was.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from confide.enclave.group_key import FOLDER, KEY_BYTES, GroupKey
from confide.enclave.image import SCRATCH, WORK
from confide.enclave.libos import inside_libos
from confide.enclave.processes import Program
from confide.enclave.profile import Context
from confide.enclave.workload_sandbox import sandbox_prefix
from confide.python.inputs import open_inputs
from confide.python.locations import Location, plan
from confide.python.outputs import commit_outputs


class PythonProfile:
    """Runs a Python program (`confide.enclave.profile.Profile`)."""

    def run(self, context: Context) -> int:
        """Run the program and return its exit code.

        Raises:
            Misuse: a granted location that the profile cannot show under `/work`.
            Tampered, NotEncrypted: an input is not what was committed.
            NoGrant: the program left files where it may not write.
            InvalidFormat: a table that it left is not Parquet.
            Conflict: someone else committed an output meanwhile.
        """
        home = context.scratch / "home"
        home.mkdir(mode=0o700)
        # A library OS has no mounts to be made while it runs: there, /work is a mount of decrypted files already.
        view = Path(WORK) if inside_libos() else context.scratch / "view"
        view.mkdir(mode=0o700, exist_ok=True)
        locations = plan(context.release)
        before = open_inputs(locations, context.release.keyset(), context.work, view)
        inside = inside_libos() is not None
        group = context.socket.parent / Path(FOLDER).name
        prefix = [] if inside else _prefix(locations, view, home, group)
        with contextlib.closing(GroupKey(group, secrets.token_bytes(KEY_BYTES))):
            code = self._program(context, prefix, home if inside else Path(SCRATCH))
        if code == 0:
            commit_outputs(locations, context, view, before)
        return code

    def _program(self, context: Context, prefix: Sequence[str], home: Path) -> int:
        environment = {name: value for name, value in os.environ.items() if name != "CONFIDE_AGENT"}
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
            process = context.start(
                Program(
                    argv=[*prefix, sys.executable, context.image.program, *context.arguments],
                    env={**environment, "HOME": str(home), "TMPDIR": str(home)},
                    cwd=Path(WORK),
                    stdin=nothing.fileno(),
                    stdout=context.output,
                    stderr=context.output,
                )
            )
        context.started()
        return process.wait()


def _prefix(locations: Iterable[Location], view: Path, home: Path, group: Path) -> list[str]:
    """Confine the program to the view, in which it can write where an output may lie, its home, and its group's key."""
    folders = {location.writable for location in locations} - {None}
    binds = {
        f"{WORK}/{folder}" if folder else WORK: view / folder for folder in folders if folder is not None
    }
    shown = {FOLDER: group} if WORK in binds else {FOLDER: group, WORK: view}
    return sandbox_prefix({**binds, SCRATCH: home}, shown=shown)
