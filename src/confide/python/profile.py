"""The Python profile: an ordinary program between decrypted inputs and outputs that get encrypted.

The program sees its declared inputs in clear under `/work`, in the enclave's memory, and writes its declared
outputs beside them. The host's files lie out of its reach, but for tables that it declares to read itself: of these it
sees the encrypted files. Only when it exits 0 are outputs encrypted and committed, or when it asks for that; otherwise
they vanish with the enclave, and what lay on storage before stays as it was.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from confide.enclave import group_key, program_socket
from confide.enclave.group_key import KEY_BYTES, GroupKey
from confide.enclave.image import SCRATCH, WORK
from confide.enclave.libos import inside_libos
from confide.enclave.processes import Program
from confide.enclave.profile import Context
from confide.enclave.program_socket import ProgramSocket
from confide.enclave.streamed import declared, granted
from confide.enclave.workload_sandbox import sandbox_prefix
from confide.python.inputs import open_inputs
from confide.python.locations import Location, plan
from confide.python.outputs import Outputs


class PythonProfile:
    """Runs a Python program (`confide.enclave.profile.Profile`)."""

    def run(self, context: Context) -> int:
        """Run the program and return its exit code.

        Raises:
            Misuse: a granted location that the profile cannot show under `/work`, or one that the program reads itself
                and may write.
            Tampered, NotEncrypted: an input is not what was committed.
            NoGrant: a table that the program reads itself is not granted, or it left files where it may not write.
            InvalidFormat: a table that it left is not Parquet.
            Conflict: someone else committed an output meanwhile.
        """
        home = context.scratch / "home"
        home.mkdir(mode=0o700)
        # A library OS has no mounts to be made while it runs: there, /work is a mount of decrypted files already.
        inside = inside_libos() is not None
        view = Path(WORK) if inside else context.scratch / "view"
        view.mkdir(mode=0o700, exist_ok=True)
        streamed = declared(context.image)
        tables = granted(context.release, streamed, context.work if inside else Path(WORK))
        locations = plan(context.release, streamed)
        before = open_inputs(locations, context.release.keyset(), context.work, view)
        outputs = Outputs(locations, context, view, before)
        run = context.socket.parent
        sockets = {path: run / Path(path).name for path in (group_key.FOLDER, program_socket.FOLDER)}
        prefix = [] if inside else _prefix(locations, view, home, sockets, context.work)

        def progress(done: int, total: int) -> None:
            context.tell("progress", done=done, total=total)

        with (
            contextlib.closing(GroupKey(sockets[group_key.FOLDER], secrets.token_bytes(KEY_BYTES))),
            contextlib.closing(
                ProgramSocket(sockets[program_socket.FOLDER], tables, outputs.commit, progress)
            ),
        ):
            code = self._program(context, prefix, home if inside else Path(SCRATCH))
        if code == 0:
            outputs.commit_changed()
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


def _prefix(
    locations: Sequence[Location], view: Path, home: Path, sockets: Mapping[str, Path], work: Path
) -> list[str]:
    """Confine the program to the view, in which it can write where an output may lie, its home, and its sockets.

    Of the data root it sees the tables that it reads itself, encrypted.
    """
    folders = {location.writable for location in locations} - {None}
    binds = {
        f"{WORK}/{folder}" if folder else WORK: view / folder for folder in folders if folder is not None
    }
    streamed = {
        f"{WORK}/{location.path}": work / location.path for location in locations if location.streamed
    }
    shown = {**sockets, **streamed, **({} if WORK in binds else {WORK: view})}
    return sandbox_prefix({**binds, SCRATCH: home}, shown=shown)
