"""How a demo is told: chapters of steps, each with the command that a user would type."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from confide.cli.output import say, stdout
from confide.errors import ConfideError


class DemoFailed(ConfideError):
    """A step of the demo did not do what it says."""

    exit_code = 1


@dataclass
class _Running:
    """A command that was started."""

    command: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]


class Tour:
    """Tells steps, each with the command that a user would type; a tour adds the chapters."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._owner = folder / "owner"
        self._owner.mkdir()
        passphrase = self._owner / "passphrase"
        passphrase.touch(mode=0o600)
        passphrase.write_text(secrets.token_urlsafe(24) + "\n")
        self._passphrase = os.open(passphrase, os.O_RDONLY)
        os.set_inheritable(self._passphrase, True)
        self._environment = {
            **os.environ,
            "CONFIDE_HOME": str(self._owner / "home"),
            "CONFIDE_PASSPHRASE_FD": str(self._passphrase),
        }

    def close(self) -> None:
        """Let go of the passphrase."""
        os.close(self._passphrase)

    def _chapter(self, title: str, who: str) -> None:
        stdout.print(f"\n[bold]{title}[/]  [dim]({who})[/]")

    def _say(self, text: str) -> None:
        stdout.print("  " + text)

    def _command(self, command: str) -> None:
        stdout.print(f"  [cyan]$ {command}[/]", highlight=False)

    def _output(self, line: str) -> None:
        stdout.print("    " + line, markup=False, style="dim", highlight=False)

    def _run(
        self, command: str, *, expect: int = 0, quiet: bool = False, cwd: Path | None = None, shown: str = ""
    ) -> str:
        return self._finish(self._begin(command, cwd=cwd, shown=shown), expect=expect, quiet=quiet)

    def _begin(self, command: str, *, cwd: Path | None = None, shown: str = "") -> _Running:
        self._command(shown or command)
        words = shlex.split(command)
        if words[0] == "confide":
            words[:1] = [sys.executable, "-m", "confide"]
        output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the command has ended
        process = subprocess.Popen(
            words,
            cwd=cwd or self._folder,
            env=self._environment,
            pass_fds=(self._passphrase,),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        return _Running(shown or command, process, output)

    def _finish(self, running: _Running, *, expect: int = 0, quiet: bool = False) -> str:
        code = running.process.wait()
        with running.output as output:
            output.seek(0)
            said = output.read().decode(errors="replace")
        if not quiet:
            for line in said.splitlines():
                self._output(line)
        if expect:
            self._say(f"[yellow]exit code {code}[/]")
        if code != expect:
            say(said)
        self._expect(code == expect, f"{running.command}: exit code {code}, not {expect}")
        return said

    def _expect(self, holds: bool, otherwise: str) -> None:
        if not holds:
            raise DemoFailed(otherwise)


def count(needles: list[bytes], files: list[Path]) -> int:
    """Return how often any of the needles stands in the files."""
    return sum(path.read_bytes().count(needle) for path in files for needle in needles)


def example(name: str) -> Path:
    """Return an example program: in the wheel, or in the clone."""
    packaged = Path(__file__).parent / "examples" / name
    return packaged if packaged.exists() else Path(__file__).parents[3] / "examples" / name
