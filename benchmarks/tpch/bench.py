"""`python -m benchmarks tpch`: 22 queries, JVM CPU seconds of each, encrypted against plain."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from benchmarks.measure import Comparison, mean_ratio, mean_ratio_interval
from benchmarks.options import Options
from benchmarks.owner import new_owner
from benchmarks.process import CommandFailed
from benchmarks.report import Bar, Report, interval, ratio, table
from benchmarks.sides import PLAIN, Sides, SparkRun, compare, raw
from benchmarks.tables import TABLES, copy_plain, encrypt_tables, generated, plain_tables
from benchmarks.tpch.answers import answers_note
from benchmarks.workspace import workspace

PROGRAM = Path(__file__).with_name("program.py")
COLD = "WARM_UP, COUNTED = 0, 1\n"
MEAN_BAR, UPPER_BAR, EACH_BAR = 1.06, 1.10, 1.25

Results = Mapping[str, Sequence[SparkRun]]


def run(options: Options) -> Report:
    """Measure and report."""
    source = generated(options.scale)
    with workspace() as folder:
        plain_folder, made = folder / "plain", program(folder, options)
        if options.plain_only:
            plain_tables(source, plain_folder)
            return _plain_report(measure(Sides(made, plain_folder, None), options.runs), options)
        with new_owner(folder) as owner:
            encrypt_tables(owner, source)
            copy_plain(owner, plain_folder)
            owner.allow(made, reads=[f"tpch/{name}" for name in TABLES])
            return _report(measure(Sides(made, plain_folder, owner), options.runs), options)


def program(folder: Path, options: Options) -> Path:
    """Copy the program and what it imports into `folder`, with the number of passes asked for; return where it is."""
    made = folder / "program"
    shutil.copytree(PROGRAM.parent, made, ignore=shutil.ignore_patterns("__pycache__"))
    if options.cold:
        (made / "passes.py").write_text(COLD)
    return made / PROGRAM.name


def passes(options: Options) -> str:
    """Return how many passes count, in words."""
    return "one pass, with none before to warm up" if options.cold else "three passes after one to warm up"


def measure(sides: Sides, runs: int) -> Results:
    """Run the queries on both sides.

    Raises:
        CommandFailed: a run failed, or two of them disagree on a result.
    """
    results = sides.run(runs)
    everything = [run for runs in results.values() for run in runs]
    for query in everything[0].measured["queries"]:
        found = {
            (run.measured["queries"][query]["rows"], run.measured["queries"][query]["digest"])
            for run in everything
        }
        if len(found) != 1:
            raise CommandFailed(f"{query}: the runs do not agree on its result")
    return results


def compare_queries(
    results: Results, cpu_s: Callable[[SparkRun, str], float]
) -> tuple[Mapping[str, Comparison], str]:
    """Return the CPU of each query, and the table of everything.

    Args:
        results: of `measure`.
        cpu_s: CPU seconds that a run used for a query.
    """
    names = sorted(results[PLAIN][0].measured["queries"])
    cpu = {name: compare(results, partial(_swapped, cpu_s, name)) for name in names}
    wall = {name: compare(results, _query(name, "wall_s")) for name in names}
    rows = [
        [
            name,
            *(f"{statistics.median(side):.2f}" for side in (cpu[name].base, cpu[name].other)),
            ratio(cpu[name]),
            *(f"{statistics.median(side):.2f}" for side in (wall[name].base, wall[name].other)),
            f"{wall[name].ratio():.3f}",
        ]
        for name in names
    ]
    each = list(cpu.values())
    mean, around = mean_ratio(each), mean_ratio_interval(each)
    wall_mean = interval(mean_ratio(list(wall.values())), mean_ratio_interval(list(wall.values())))
    rows.append(["**geometric mean**", "", "", f"**{interval(mean, around)}**", "", "", wall_mean])
    whole_cpu = compare(results, lambda run: run.usage.cpu_s)
    whole_wall = compare(results, lambda run: run.usage.wall_s)
    rows.append(
        [
            "whole command",
            *(f"{statistics.median(side):.1f}" for side in (whole_cpu.base, whole_cpu.other)),
            ratio(whole_cpu),
            *(f"{statistics.median(side):.1f}" for side in (whole_wall.base, whole_wall.other)),
            f"{whole_wall.ratio():.3f}",
        ]
    )
    columns = [
        "query",
        "plain CPU s",
        "confide CPU s",
        "ratio [95 %]",
        "plain wall s",
        "confide wall s",
        "ratio",
    ]
    return cpu, table(columns, rows)


def bars(cpu: Mapping[str, Comparison], mean_bar: float, each_bar: float) -> tuple[Bar, ...]:
    """Return the bars on ratios of CPU: their geometric mean, and the largest."""
    each = list(cpu.values())
    worst = max(cpu, key=lambda name: cpu[name].ratio())
    return (
        Bar("geometric mean of CPU ratios", mean_ratio(each), mean_bar),
        Bar(f"largest CPU ratio of a query ({worst})", cpu[worst].ratio(), each_bar),
    )


def _swapped(cpu_s: Callable[[SparkRun, str], float], name: str, run: SparkRun) -> float:
    return cpu_s(run, name)


def _report(results: Results, options: Options) -> Report:
    cpu, rows = compare_queries(results, lambda run, name: float(run.measured["queries"][name]["cpu_s"]))
    setup = results[PLAIN][0].measured["setup"]
    return Report(
        f"TPC-H, scale {options.scale:g}",
        (rows,),
        (
            *bars(cpu, MEAN_BAR, EACH_BAR),
            Bar("upper end of the mean's interval", mean_ratio_interval(list(cpu.values())).high, UPPER_BAR),
        ),
        (
            f"Medians of {options.runs} interleaved runs, each a process of its own, the median of {passes(options)}; "
            f"`{setup['master']}`, Java heap {setup['heap_mib']} MiB, Spark "
            f"{setup['spark']} on both sides. CPU of a query is the JVM's; of the whole command, the process tree's "
            "from start to end, the warm-up pass, the image's check and key release included. Both sides gave the same "
            "result for every query in every run.",
            *_notes(results, options),
        ),
        raw(results),
    )


def _plain_report(results: Results, options: Options) -> Report:
    names = sorted(results[PLAIN][0].measured["queries"])
    runs = results[PLAIN]
    rows = []
    for name in names:
        medians = (statistics.median(map(_query(name, unit), runs)) for unit in ("cpu_s", "wall_s"))
        rows.append(
            [name, *(f"{value:.2f}" for value in medians), str(runs[0].measured["queries"][name]["rows"])]
        )
    columns = ["query", "plain CPU s", "plain wall s", "rows"]
    return Report(
        "TPC-H, plain side only", (table(columns, rows),), notes=_notes(results, options), raw=raw(results)
    )


def _query(name: str, unit: str) -> Callable[[SparkRun], float]:
    return lambda run: float(run.measured["queries"][name][unit])


def _notes(results: Results, options: Options) -> tuple[str, ...]:
    return (answers_note(results[PLAIN][0].measured["queries"]),) if options.scale == 1 else ()
