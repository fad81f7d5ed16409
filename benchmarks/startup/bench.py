"""`python -m benchmarks startup`: wall of `confide run` of a trivial Spark program against plain `python`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measure import bootstrap_median
from benchmarks.options import Options
from benchmarks.owner import new_owner
from benchmarks.report import Bar, Report, interval, table
from benchmarks.sides import CONFIDE, PLAIN, Sides, SparkRun, compare, raw
from benchmarks.workspace import workspace

PROGRAM = Path(__file__).with_name("program.py")
BAR_S = 3.0


def run(options: Options) -> Report:
    """Measure and report."""
    with workspace() as folder:
        plain_folder = folder / "plain"
        plain_folder.mkdir()
        if options.plain_only:
            return _report(Sides(PROGRAM, plain_folder, None).run(options.runs), options)
        with new_owner(folder) as owner:
            owner.allow(PROGRAM, writes=["out/nothing"])  # a policy needs a grant
            return _report(Sides(PROGRAM, plain_folder, owner).run(options.runs), options)


def _report(results: Mapping[str, Sequence[SparkRun]], options: Options) -> Report:
    rows = [
        [
            "`python program.py`" if side == PLAIN else "`confide run --tee simulated program.py`",
            f"{statistics.median(run.usage.wall_s for run in runs):.2f}",
            f"{statistics.median(run.usage.cpu_s for run in runs):.2f}",
        ]
        for side, runs in results.items()
    ]
    bars: tuple[Bar, ...] = ()
    if CONFIDE in results:
        wall = compare(results, lambda run: run.usage.wall_s)
        more = [other - base for base, other in zip(wall.base, wall.other, strict=True)]
        difference = statistics.median(more)
        rows.append(["difference [95 %]", interval(difference, bootstrap_median(more)), ""])
        bars = (Bar("wall more than plain, s", difference, BAR_S),)
    return Report(
        "Start",
        (table(["command", "wall s", "CPU s"], rows),),
        bars,
        (
            f"Medians of {options.runs} interleaved runs; the difference is the median over pairs of runs. CPU of the "
            "whole process tree. The image was built before, by `confide policy allow`; opening the home (Argon2id), "
            "the broker inside `confide run`, attestation and release are included.",
        ),
        raw(results),
    )
