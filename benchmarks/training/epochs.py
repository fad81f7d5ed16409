"""`python -m benchmarks epochs`: epochs from an encrypted table against PyTorch's loader over plain Parquet."""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Mapping, Sequence

from benchmarks.measure import Comparison
from benchmarks.options import Options
from benchmarks.process import CommandFailed
from benchmarks.report import Bar, Report, ratio, table
from benchmarks.training.bench import ROOT, TIMEOUT_S, torch_python

WHAT = {"rows": "`DataLoader` puts rows together", "batches": "whole batches"}
Seconds = Mapping[str, Mapping[str, Sequence[float]]]


def run(options: Options) -> Report:
    """Measure and report."""
    rows, rounds = (60_000, max(5, options.runs)) if options.runs >= 5 else (2_000, options.runs)
    command = [str(torch_python()), "-m", "benchmarks.training.epoch", str(rows), str(rounds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise CommandFailed(f"epochs ended with exit code {done.returncode}:\n{done.stderr[-4000:]}")
    return _report(json.loads(done.stdout), rows)


def _report(seconds: Seconds, rows: int) -> Report:
    lines, bars = [], []
    for name, what in WHAT.items():
        sides = seconds[name]
        against = {
            side: Comparison(tuple(sides["pyarrow"]), tuple(sides[side])) for side in ("plain", "encrypted")
        }
        medians = [f"{statistics.median(sides[side]):.2f}" for side in ("pyarrow", "plain", "encrypted")]
        lines.append([what, *medians, ratio(against["encrypted"])])
        bars.append(Bar(f"epoch, {what}, time relative to pyarrow", against["encrypted"].ratio(), 1.0))
    columns = [
        "",
        "plain, pyarrow's loader, s",
        "plain, `EncryptedTable`, s",
        "encrypted, s",
        "encrypted to pyarrow's [95 %]",
    ]
    return Report(
        title="Epochs from an encrypted table",
        tables=(table(columns, lines),),
        bars=tuple(bars),
        notes=(
            f"{rows} images of 784 bytes, in batches of 256, by one process with one thread of PyTorch and no "
            f"workers; {len(seconds['rows']['pyarrow'])} epochs of each side in turn after a first one; medians. "
            "Both tables have the same rows and row groups. Nothing is shuffled, as the loader over pyarrow does not.",
        ),
        raw={"seconds": seconds},
    )
