"""`python -m benchmarks executors`: from the start of a Spark context until two executors are there."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.measure import bootstrap_median
from benchmarks.options import Options
from benchmarks.owner import new_owner
from benchmarks.report import Bar, Report, interval, table
from benchmarks.sides import Cluster, Sides, compare, raw, spark_home
from benchmarks.workspace import workspace

PROGRAM = Path(__file__).with_name("program.py")
EXECUTORS = 2
BAR_S = 1.0


def run(options: Options) -> Report:
    """Measure and report."""
    with workspace() as folder, new_owner(folder) as owner:
        plain = folder / "plain"
        plain.mkdir()
        owner.allow(PROGRAM, writes=["out/nothing"], executors=True)  # a policy needs a grant
        cluster = Cluster(EXECUTORS, spark_home(folder / "spark"))
        results = Sides(PROGRAM, plain, owner, cluster).run(options.runs)
    took = compare(results, lambda run: run.measured["took_s"])
    more = [other - base for base, other in zip(took.base, took.other, strict=True)]
    difference = statistics.median(more)
    rows = [
        ["plain (`local-cluster`)", f"{statistics.median(took.base):.2f}"],
        [f"`confide run --workers {EXECUTORS}`", f"{statistics.median(took.other):.2f}"],
        ["difference [95 %]", interval(difference, bootstrap_median(more))],
    ]
    return Report(
        "Executors",
        (table(["", "s"], rows),),
        (Bar("until two executors are there, more than plain, s", difference, BAR_S),),
        (
            f"Medians of {options.runs} interleaved runs, from the start of the Spark context until {EXECUTORS} "
            "executors of one core are there, which start at once on one machine; the driver's JVM ran before. Of "
            "`confide`: each executor's image is verified, and each attests, joins the job and starts its JVM. Plain "
            "Spark starts its own master and workers in that time.",
        ),
        raw(results),
    )
