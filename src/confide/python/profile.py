"""The Python profile: an ordinary program between decrypted inputs and outputs that get encrypted.

The program sees its declared inputs in clear under `/work`, in the enclave's memory, and writes its declared
outputs beside them. The host's files lie out of its reach. Only when it exits 0 are outputs encrypted and
committed; otherwise they vanish with the enclave, and what lay on storage before stays as it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from confide.enclave.image import SCRATCH, WORK
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
        view, home = context.scratch / "view", context.scratch / "home"
        view.mkdir(mode=0o700)
        home.mkdir(mode=0o700)
        locations = plan(context.release)
        before = open_inputs(locations, context.release.keyset(), context.work, view)
        code = self._program(context, _prefix(locations, view, home))
        if code == 0:
            commit_outputs(locations, context, view, before)
        return code

    def _program(self, context: Context, prefix: Sequence[str]) -> int:
        environment = {name: value for name, value in os.environ.items() if name != "CONFIDE_AGENT"}
        process = subprocess.Popen(
            [*prefix, sys.executable, context.image.program, *context.arguments],
            stdin=subprocess.DEVNULL,
            stdout=context.output,
            stderr=context.output,
            env=environment,
        )
        context.started()
        return process.wait()


def _prefix(locations: Iterable[Location], view: Path, home: Path) -> list[str]:
    """Confine the program to the view, in which it can write where an output may lie, and to its home."""
    folders = {location.writable for location in locations} - {None}
    binds = {
        f"{WORK}/{folder}" if folder else WORK: view / folder for folder in folders if folder is not None
    }
    shown = {} if WORK in binds else {WORK: view}
    return sandbox_prefix({**binds, SCRATCH: home}, shown=shown)
