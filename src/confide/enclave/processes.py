"""How a profile starts its programs: as children of the agent, or by children that were forked while it was small."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from confide.enclave.early import EarlyChild, order
from confide.errors import Misuse

_CHUNK_BYTES = 64 * 1024
_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Program:
    """What to start.

    Attributes:
        argv: its arguments, the first the path of the program.
        env: its whole environment.
        cwd: its working directory.
        stdout: descriptor that its output goes to.
        stderr: descriptor that its messages go to.
        stdin: descriptor that its input comes from; None: a pipe that `Process.close_stdin` closes.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    stdout: int
    stderr: int
    stdin: int | None = None


class Process(Protocol):
    """A started program."""

    def wait(self, seconds: float | None = None) -> int:
        """Return its exit code, negative for a signal; raise TimeoutError if it takes longer."""
        ...

    def close_stdin(self) -> None:
        """Close its input."""
        ...

    def kill(self) -> None:
        """End it."""
        ...


class Starter(Protocol):
    """Starts programs."""

    def __call__(self, program: Program) -> Process:
        """Start one."""
        ...


@dataclass(frozen=True)
class _Child:
    popen: subprocess.Popen[bytes]

    def wait(self, seconds: float | None = None) -> int:
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError from None

    def close_stdin(self) -> None:
        if self.popen.stdin is not None:
            self.popen.stdin.close()

    def kill(self) -> None:
        self.popen.kill()


def start_child(program: Program) -> Process:
    """Start a program as a child of this process."""
    stdin = subprocess.PIPE if program.stdin is None else program.stdin
    return _Child(
        subprocess.Popen(
            program.argv,
            stdin=stdin,
            stdout=program.stdout,
            stderr=program.stderr,
            cwd=program.cwd,
            env=program.env,
        )
    )


class EarlyStarter:
    """Starts programs by children that wait for it.

    Args:
        children: one for each program.
    """

    def __init__(self, children: Sequence[EarlyChild]) -> None:
        self._waiting = list(children)

    def __call__(self, program: Program) -> Process:
        """Have the next child become the program.

        Raises:
            Misuse: no child is left.
        """
        if not self._waiting:
            raise Misuse("the profile starts more programs than it said")
        child = self._waiting.pop(0)
        order(child, program.argv, program.env, program.cwd)
        return _Early(child, program)


class _Early:
    """A program whose streams are copied from and to descriptors that it did not inherit."""

    def __init__(self, child: EarlyChild, program: Program) -> None:
        self._pid, self._stdin = child.pid, child.stdin
        self._code: int | None = None
        self._outputs = [
            copy_stream(child.stdout, os.dup(program.stdout)),
            copy_stream(child.stderr, os.dup(program.stderr)),
        ]
        if program.stdin is not None:
            copy_stream(os.dup(program.stdin), child.stdin)

    def wait(self, seconds: float | None = None) -> int:
        deadline = None if seconds is None else time.monotonic() + seconds
        while self._code is None:
            pid, status = os.waitpid(self._pid, 0 if deadline is None else os.WNOHANG)
            if pid:
                self._code = os.waitstatus_to_exitcode(status)
            elif deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError
            else:
                time.sleep(_POLL_SECONDS)
        for thread in self._outputs:
            thread.join()
        return self._code

    def close_stdin(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._stdin)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)


def copy_stream(source: int, target: int) -> threading.Thread:
    """Copy what comes from one descriptor to another in a thread, and close both at the end."""

    def run() -> None:
        with contextlib.suppress(OSError):
            while chunk := os.read(source, _CHUNK_BYTES):
                while chunk:
                    chunk = chunk[os.write(target, chunk) :]
        for descriptor in (source, target):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    thread = threading.Thread(target=run, name="stream", daemon=True)
    thread.start()
    return thread
