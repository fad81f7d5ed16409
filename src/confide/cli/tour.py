"""How a demo is told: chapters of steps, each with the command that a user would type."""

from __future__ import annotations

import os
import secrets
import shlex
import subprocess
import sys
from pathlib import Path

from confide.cli.output import say, stdout
from confide.errors import ConfideError


class DemoFailed(ConfideError):
    """A step of the demo did not do what it says."""

    exit_code = 1


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
        self._command(shown or command)
        words = shlex.split(command)
        if words[0] == "confide":
            words[:1] = [sys.executable, "-m", "confide"]
        done = subprocess.run(
            words,
            cwd=cwd or self._folder,
            env=self._environment,
            pass_fds=(self._passphrase,),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        if not quiet:
            for line in done.stdout.splitlines():
                self._output(line)
        if expect:
            self._say(f"[yellow]exit code {done.returncode}[/]")
        if done.returncode != expect:
            say(done.stdout)
        self._expect(
            done.returncode == expect, f"{shown or command}: exit code {done.returncode}, not {expect}"
        )
        return done.stdout

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
