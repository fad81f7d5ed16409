"""`python -m benchmarks cluster`: TPC-H on a driver and two executors, against plain Spark on as many."""

from __future__ import annotations

from benchmarks.options import Options
from benchmarks.owner import new_owner
from benchmarks.report import Report
from benchmarks.sides import Cluster, Sides, SparkRun, raw, spark_home
from benchmarks.tables import TABLES, copy_plain, encrypt_tables, generated
from benchmarks.tpch.bench import bars, compare_queries, measure, passes, program
from benchmarks.workspace import workspace

EXECUTORS = 2
SCRATCH_GIB = 4
"""Of each process at scale 2: what queries shuffle lies there until the driver's JVM collects its garbage."""
MEAN_BAR, EACH_BAR = 1.10, 1.30


def run(options: Options) -> Report:
    """Measure and report."""
    source = generated(options.scale)
    with workspace() as folder, new_owner(folder) as owner:
        encrypt_tables(owner, source)
        copy_plain(owner, folder / "plain")
        made = program(folder, options)
        more = ("--scratch", f"{max(SCRATCH_GIB, round(SCRATCH_GIB * options.scale / 2))}g")
        owner.allow(made, reads=[f"tpch/{name}" for name in TABLES], more=more, executors=True)
        cluster = Cluster(EXECUTORS, spark_home(folder / "spark"), more)
        results = measure(Sides(made, folder / "plain", owner, cluster), options.runs)
    cpu, rows = compare_queries(results, _cpu_s)
    return Report(
        f"TPC-H on a cluster, scale {options.scale:g}",
        (rows,),
        bars(cpu, MEAN_BAR, EACH_BAR),
        (
            f"Medians of {options.runs} interleaved runs. A driver and {EXECUTORS} executors of one core each, on one "
            "machine: for `confide`, members of a job that are each attested, TLS 1.3 between them; for plain Spark "
            "its own workers (`local-cluster`), nothing encrypted, with the same heaps. CPU of a query is that of all "
            f"processes of the command, sampled ten times a second, over {passes(options)}; of the "
            "whole command, from start to end. Both sides gave the same result for every query in every run.",
        ),
        raw(results),
    )


def _cpu_s(run: SparkRun, query: str) -> float:
    return sum(run.course.between(start, end) for start, end in run.measured["queries"][query]["spans"])
