"""How the command line talks: data to stdout, talk to stderr, JSON for machines with --json."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import rich.console
import rich.progress
import rich.table
from rich.text import Text

SIMULATED_NOTE = "TEE `simulated`: protects nothing, for trying things out only"
TPM_NOTE = (
    "TEE `tpm`: memory is NOT confidential, whoever runs the machine can read it; for trying things out only"
)
_NOTES = {"simulated": SIMULATED_NOTE, "tpm": TPM_NOTE}

_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != ord("\n")}

stdout = rich.console.Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
stderr = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)


def emit(value: Any) -> None:
    """Print one JSON document to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def say(text: str) -> None:
    """Print one line of talk to stderr."""
    stderr.print(plain(text), markup=False)


def plain(text: str) -> str:
    """Return `text` with control characters spelled out: names on storage and on the wire are others' choice."""
    return text.translate(_CONTROL)


def tee_note(tee: str) -> str:
    """Return what is said wherever a TEE is named that keeps nothing confidential, in brackets; else nothing."""
    return f" ({_NOTES[tee]})" if tee in _NOTES else ""


class Table(rich.table.Table):
    """A table whose cells show texts as they are: what looks like markup or moves the cursor does neither."""

    def add_row(self, *cells: Any, **style: Any) -> None:
        """Add a row of texts, or of what rich draws."""
        super().add_row(*(Text(plain(cell)) if isinstance(cell, str) else cell for cell in cells), **style)


def table(*columns: str) -> Table:
    """Return an empty table in the house style: what is too wide goes on below, and is never cut."""
    headers = (rich.table.Column(name, overflow="fold") for name in columns)
    return Table(*headers, box=None, header_style="bold", pad_edge=False, show_header=any(columns))


@contextmanager
def progress(label: str, *, quiet: bool = False) -> Iterator[Any]:
    """Show a progress bar on stderr; yields `callback(done_bytes, total_bytes)`."""
    bar = rich.progress.Progress(
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.DownloadColumn(),
        rich.progress.TransferSpeedColumn(),
        rich.progress.TimeRemainingColumn(),
        console=stderr,
        transient=True,
        disable=quiet or not stderr.is_terminal,
    )
    with bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class Steps:
    """A bar of steps on stderr, from the first call on; a line for each where that is no terminal."""

    def __init__(self) -> None:
        self._bar: rich.progress.Progress | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show that so many are done."""
        if not stderr.is_terminal:
            say(f"{done} of {total} steps")
            return
        if self._bar is None:
            self._bar = rich.progress.Progress(
                rich.progress.BarColumn(),
                rich.progress.MofNCompleteColumn(),
                rich.progress.TimeElapsedColumn(),
                rich.progress.TimeRemainingColumn(),
                console=stderr,
            )
            self._bar.add_task("steps", total=total)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, total=total)

    def close(self) -> None:
        """Leave it as it is, and the terminal to what comes next."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
