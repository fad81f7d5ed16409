"""`python -m benchmarks sort`: 5 GB through a shuffle on a driver and two executors, against plain Spark on as many."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

from benchmarks.options import Options
from benchmarks.owner import new_owner
from benchmarks.process import CommandFailed
from benchmarks.report import Bar, Report, ratio, table
from benchmarks.sides import Cluster, Sides, SparkRun, compare, raw, spark_home
from benchmarks.workspace import workspace

PROGRAM = Path(__file__).with_name("program.py")
EXECUTORS = 2
ROW_BYTES = 96
BAR = 1.25


def run(options: Options) -> Report:
    """Measure and report."""
    if options.plain_only:
        raise CommandFailed("it needs `confide run`")
    with workspace() as folder, new_owner(folder) as owner:
        program = Path(shutil.copy(PROGRAM, folder))
        rows = program.with_name("rows.txt")
        rows.write_text(str(options.sort_bytes // ROW_BYTES))
        plain = folder / "plain"
        plain.mkdir()
        # What is sorted lies there twice, once for the shuffle and once for the sort itself.
        scratch_mib = 512 + 3 * options.sort_bytes // EXECUTORS // 1024**2
        more = ("--include", str(rows), "--scratch", f"{scratch_mib}m")
        owner.allow(program, writes=["out/nothing"], more=more, executors=True)
        cluster = Cluster(EXECUTORS, spark_home(folder / "spark"), more)
        results = Sides(program, plain, owner, cluster).run(options.runs)
    rows_of: dict[str, Callable[[SparkRun], float]] = {
        "sort, CPU s": lambda run: run.course.between(*run.measured["sort"]["span"]),
        "sort, wall s": lambda run: run.measured["sort"]["wall_s"],
        "whole command, CPU s": lambda run: run.usage.cpu_s,
    }
    compared = {name: compare(results, value) for name, value in rows_of.items()}
    cells = [
        [name, *(f"{statistics.median(side):.1f}" for side in (each.base, each.other)), ratio(each)]
        for name, each in compared.items()
    ]
    return Report(
        f"Sort of {options.sort_bytes / 1000**3:g} GB",
        (table(["", "plain", "confide", "ratio [95 %]"], cells),),
        (Bar("CPU ratio of the sort", compared["sort, CPU s"].ratio(), BAR),),
        (
            f"Medians of {options.runs} interleaved runs. A driver and {EXECUTORS} executors of one core each on one "
            "machine, rows of 12 numbers that do not compress, sorted by one of them after a smaller sort to warm up. "
            "Plain Spark (`local-cluster`) shuffles and spills to the disk, by way of Linux's cache; with `confide` "
            "that goes by TLS 1.3, and lies in scratch space in memory. CPU is that of all processes.",
        ),
        raw(results),
    )
