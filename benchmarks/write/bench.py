"""`python -m benchmarks write`: lineitem written by Spark, encrypted against plain."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.options import Options
from benchmarks.owner import Owner, new_owner
from benchmarks.process import CommandFailed
from benchmarks.report import Bar, Report, ratio, table
from benchmarks.sides import CONFIDE, PLAIN, Sides, SparkRun, compare, raw
from benchmarks.tables import copy_plain, encrypt_tables, generated, plain_tables
from benchmarks.workspace import workspace

PROGRAM = Path(__file__).with_name("program.py")
BAR = 1.15

Results = Mapping[str, Sequence[SparkRun]]


def run(options: Options) -> Report:
    """Measure and report."""
    source, tables = generated(options.scale), ("lineitem",)
    with workspace() as folder:
        plain_folder = folder / "plain"
        if options.plain_only:
            plain_tables(source, plain_folder, tables)
            return _report(_measure(options, plain_folder, None), options)
        with new_owner(folder) as owner:
            encrypt_tables(owner, source, tables)
            copy_plain(owner, plain_folder, tables)
            owner.allow(PROGRAM, reads=["tpch/lineitem"], writes=["out/lineitem"])
            return _report(_measure(options, plain_folder, owner), options)


def _measure(options: Options, plain_folder: Path, owner: Owner | None) -> Results:
    results = Sides(PROGRAM, plain_folder, owner).run(options.runs)
    if len({tuple(run.measured["content"].items()) for runs in results.values() for run in runs}) != 1:
        raise CommandFailed("the runs did not write the same rows")
    return results


def _report(results: Results, options: Options) -> Report:
    rows = []
    bars: tuple[Bar, ...] = ()
    for action, text in (("write", "read and write"), ("read", "read only (noop sink)")):
        for unit, name in (("cpu_s", "CPU s"), ("wall_s", "wall s")):
            value = _action(action, unit)
            cells = [f"{statistics.median(map(value, runs)):.2f}" for runs in results.values()]
            if CONFIDE in results:
                comparison = compare(results, value)
                cells.append(ratio(comparison))
                if (action, unit) == ("write", "cpu_s"):
                    bars = (Bar("CPU ratio of reading and writing", comparison.ratio(), BAR),)
            rows.append([f"{text}, {name}", *cells])
    columns = ["action", *results, *(["ratio [95 %]"] if CONFIDE in results else [])]
    setup = results[PLAIN][0].measured["setup"]
    return Report(
        f"Writing lineitem, scale {options.scale:g}",
        (table(columns, rows),),
        bars,
        (
            f"Medians of {options.runs} interleaved runs, each the median of three writes after one to warm up; CPU of "
            f"the JVM; zstd, `{setup['master']}`, heap {setup['heap_mib']} MiB on both sides. The written rows "
            "were read back and are the same on both sides (number and hash).",
        ),
        raw(results),
    )


def _action(action: str, unit: str) -> Callable[[SparkRun], float]:
    return lambda run: float(run.measured["actions"][action][unit])
