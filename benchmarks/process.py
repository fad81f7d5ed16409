"""Measures a command: wall, CPU seconds of the whole process tree, peak memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

GRACE_S = 20.0
"""How long descendants may outlive the command, for instance a JVM that is stopping."""


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
class Done:
    """A command that ended well: what it used, and what it wrote to standard output."""

    usage: Usage
    output: str


def measure(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    stdin: int = subprocess.DEVNULL,
    grace_s: float = GRACE_S,
) -> Done:
    """Run a command to its end and return what it used.

    Args:
        command: argv.
        cwd: its working directory.
        env: added to the environment.
        pass_fds: descriptors that it inherits.
        stdin: its standard input.
        grace_s: how long descendants may outlive it.

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
            done = subprocess.run(
                [*reaper, *map(str, command)],
                check=False,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                pass_fds=(*pass_fds, writer),
                stdin=stdin,
                stdout=out,
                stderr=err,
            )
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
        return Done(Usage(**found), out.read().decode(errors="replace"))


def _tail(file: IO[bytes], size: int = 4000) -> str:
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - size))
    return file.read().decode(errors="replace")
