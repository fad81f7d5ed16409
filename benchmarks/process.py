"""Measures a command: wall, CPU seconds of the whole process tree and their course, peak memory."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

GRACE_S = 20.0
"""How long descendants may outlive the command, for instance a JVM that is stopping."""

SAMPLE_S = 0.1


class CommandFailed(RuntimeError):
    """A measured command ended with another exit code than 0."""


@dataclass(frozen=True)
class Usage:
    """What a command used.

    Attributes:
        wall_s: until the command itself ended.
        cpu_s: user and system time of the command and all its descendants that Linux accounts for (of those that
            a parent told the kernel to forget, with SIGCHLD ignored, nothing is known).
        peak_rss_bytes: of the largest single process.
        ended: descendants that had to be ended after the grace.
    """

    wall_s: float
    cpu_s: float
    peak_rss_bytes: int
    ended: int


@dataclass(frozen=True)
class Course:
    """CPU seconds of a process tree so far, as sampled.

    Attributes:
        at: Unix seconds, rising.
        cpu_s: user and system time until then.
    """

    at: Sequence[float]
    cpu_s: Sequence[float]

    def between(self, start: float, end: float) -> float:
        """Return what was used between two times (Unix seconds), interpolated."""
        return self._until(end) - self._until(start)

    def _until(self, time_s: float) -> float:
        after = min(max(1, bisect_left(self.at, time_s)), len(self.at) - 1)
        (t0, t1), (c0, c1) = self.at[after - 1 : after + 1], self.cpu_s[after - 1 : after + 1]
        return c0 + (c1 - c0) * (time_s - t0) / (t1 - t0)


@dataclass(frozen=True)
class Done:
    """A command that ended well: what it used, what it wrote to standard output, and its course."""

    usage: Usage
    output: str
    course: Course


def measure(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
    grace_s: float = GRACE_S,
    sample: bool = False,
) -> Done:
    """Run a command to its end and return what it used.

    Args:
        command: argv.
        cwd: its working directory.
        env: added to the environment.
        pass_fds: descriptors that it inherits.
        stdin: its standard input.
        grace_s: how long descendants may outlive it.
        sample: follow its course, which costs about a twentieth of a core.

    Raises:
        CommandFailed: it ended with another exit code than 0; the end of its standard error is in the text.
    """
    reader, writer = os.pipe()
    reaper = [
        sys.executable,
        "-I",
        "-S",
        str(Path(__file__).with_name("reaper.py")),
        str(writer),
        str(grace_s),
    ]
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, os.fdopen(reader, "rb") as pipe:
        try:
            done = subprocess.Popen(
                [*reaper, *map(str, command)],
                cwd=cwd,
                env={**os.environ, **(env or {})},
                pass_fds=(*pass_fds, writer),
                stdin=stdin,
                stdout=out,
                stderr=err,
            )
            course = _sample(done) if sample else Course((), ())
            done.wait()
        finally:
            os.close(writer)
        report = pipe.read()
        if done.returncode != 0:
            raise CommandFailed(f"the measuring process itself: exit {done.returncode}\n{_tail(err)}")
        found = json.loads(report)
        exit_code = found.pop("exit")
        if exit_code != 0:
            raise CommandFailed(f"{' '.join(map(str, command))}: exit {exit_code}\n{_tail(err)}")
        out.seek(0)
        return Done(Usage(**found), out.read().decode(errors="replace"), course)


def _sample(process: subprocess.Popen[bytes]) -> Course:
    """Follow a process tree until it ends; what has ended counts with the parent that waited for it."""
    root, at, cpu_s = psutil.Process(process.pid), [], []
    while process.poll() is None:
        used = 0.0
        try:
            for each in [root, *root.children(recursive=True)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    times = each.cpu_times()
                    used += times.user + times.system + times.children_user + times.children_system
        except psutil.NoSuchProcess:
            break
        at.append(time.time())
        cpu_s.append(used)
        time.sleep(SAMPLE_S)
    return Course(at, cpu_s)


def _tail(file: IO[bytes], size: int = 4000) -> str:
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - size))
    return file.read().decode(errors="replace")
