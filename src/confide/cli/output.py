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

SIMULATED_NOTE = "TEE `simulated`: protects nothing, for trying things out only"

stdout = rich.console.Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 200)
stderr = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)


def emit(value: Any) -> None:
    """Print one JSON document to stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def say(text: str) -> None:
    """Print one line of talk to stderr."""
    stderr.print(text, markup=False)


def table(*columns: str) -> rich.table.Table:
    """Return an empty table in the house style."""
    return rich.table.Table(*columns, box=None, header_style="bold", pad_edge=False, show_header=any(columns))


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
