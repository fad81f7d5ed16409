"""The Python profile: an ordinary program between decrypted inputs and outputs that get encrypted.

The program sees its declared inputs in clear under `/work`, in the enclave's memory, and writes its declared
outputs beside them. The host's files lie out of its reach. Only when it exits 0 are outputs encrypted and
committed; otherwise they vanish with the enclave, and what lay on storage before stays as it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from confide.enclave.image import SCRATCH, WORK
from confide.enclave.profile import Context
from confide.enclave.workload_sandbox import sandbox_prefix
from confide.python.inputs import open_inputs
from confide.python.locations import plan
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
        code = self._program(context, {WORK: view, SCRATCH: home})
        if code == 0:
            commit_outputs(locations, context, view, before)
        return code

    def _program(self, context: Context, binds: dict[str, Path]) -> int:
        environment = {name: value for name, value in os.environ.items() if name != "CONFIDE_AGENT"}
        process = subprocess.Popen(
            [*sandbox_prefix(binds), sys.executable, context.image.program, *context.arguments],
            stdin=subprocess.DEVNULL,
            stdout=context.output,
            stderr=context.output,
            env=environment,
        )
        context.started()
        return process.wait()
