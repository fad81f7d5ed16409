"""`python -m benchmarks flink`: windows by key over five million events, under `confide run` and with plain PyFlink."""

from __future__ import annotations

import csv
import os
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measure import Comparison, interleave
from benchmarks.options import Options
from benchmarks.owner import KEY, Owner, new_owner
from benchmarks.process import CommandFailed, Done, measure
from benchmarks.report import Bar, Report, ratio, table
from benchmarks.sides import CONFIDE, PLAIN, SparkRun, measured_in
from benchmarks.workspace import workspace
from confide.enclave.build import default_cache
from confide.enclave.layers import link_files
from confide.enclave.locked import locked_wheels, wheel_layers
from confide.flink.image_spec import ENGINE
from confide.flink.jvm import MODULE_OPTIONS
from confide.jvm.command import heap_mib

PROGRAM = Path(__file__).with_name("program.py")
EVENTS, QUICK_EVENTS = 5_000_000, 500_000
QUICK_SCALE = 0.1
EVENTS_OF_A_ROW = 100  # of one key in one window
MEMORY_MIB = 4096
"""Of the images of the profile, by default."""
BAR = 1.25


def run(options: Options) -> Report:
    """Measure and report."""
    if options.plain_only:
        raise CommandFailed("its ratios need both sides")
    events = QUICK_EVENTS if options.scale < QUICK_SCALE else EVENTS
    with workspace() as folder, new_owner(folder) as owner:
        home = _installed(folder / "engine")
        plain = folder / "plain"
        plain.mkdir()
        _allow(owner)
        _confide(owner, events)  # builds the image, and fills caches of files
        results = interleave(
            options.runs,
            {PLAIN: lambda: _plain(plain, home, events), CONFIDE: lambda: _confide(owner, events)},
        )
        owner.confide("decrypt", "out/windows", folder / "windows")
        _require(plain / "out/windows", events * options.runs)
        _require(folder / "windows", events * (options.runs + 1))
        rows = {side: _rows(results[side]) for side in results}
    job, took, whole = (
        Comparison(*(tuple(rows[side][what]) for side in (PLAIN, CONFIDE)))
        for what in ("cpu", "wall", "command")
    )
    cells = [
        [what, *(f"{statistics.median(side):.2f}" for side in (each.base, each.other)), ratio(each)]
        for what, each in (("job, CPU s", job), ("job, s", took), ("whole command, CPU s", whole))
    ]
    return Report(
        "Flink",
        (table(["", "plain", "confide", "ratio [95 %]"], cells),),
        (Bar("CPU of the job, relative to plain", job.ratio(), BAR),),
        (
            f"Medians of {options.runs} interleaved runs: {events:,} events of 1,000 keys in windows of one "
            "second, by SQL, with checkpoints every two seconds and a file sink, both sealed with `confide`. "
            "Parallelism 2, the same wheels, module options and heap on both sides; CPU of the process tree from "
            "the submission of the job to its end, sampled ten times a second. The whole command has the start of "
            "Flink, and with `confide` the check of the image and the release of keys. Each event was counted once "
            "in every run.",
        ),
        {side: [vars(each.usage) | dict(each.measured) for each in results[side]] for side in results},
    )


def _installed(folder: Path) -> Path:
    """Lay the locked wheels of the engine into one folder, as links."""
    cache = default_cache(os.environ.get("XDG_CACHE_HOME"))
    link_files(wheel_layers(locked_wheels(ENGINE), ENGINE, cache), folder)
    return folder / "opt/confide/site"


def _allow(owner: Owner) -> None:
    files = [word for place in ("out/windows", "state") for word in ("--write-files", f"{place}={KEY}")]
    owner.confide("policy", "allow", PROGRAM, "--profile", "flink", *files, "--logs", KEY)
    owner.confide("policy", "apply", "policy.toml")


def _plain(folder: Path, site: Path, events: int) -> SparkRun:
    """Run with `python` and the locked wheels, and the module options and heap of the other side."""
    flink = site / "pyflink"
    env = {
        "PYTHONPATH": str(site),
        "FLINK_HOME": str(flink),
        "FLINK_CONF_DIR": str(flink / "conf"),
        "FLINK_ENV_JAVA_OPTS": " ".join([*MODULE_OPTIONS, f"-Xmx{heap_mib(MEMORY_MIB)}m"]),
        "_python_worker_execution_mode": "process",
    }
    return _ran(measure([sys.executable, "-P", PROGRAM, str(events)], cwd=folder, env=env, sample=True))


def _confide(owner: Owner, events: int) -> SparkRun:
    """Run with `confide run`; what the program printed comes from its sealed output."""
    done = owner.confide("run", "--tee", "simulated", "--profile", "flink", PROGRAM, str(events), sample=True)
    return SparkRun(done.usage, measured_in(owner.confide("logs").output), done.course)


def _ran(done: Done) -> SparkRun:
    return SparkRun(done.usage, measured_in(done.output), done.course)


def _require(folder: Path, events: int) -> None:
    """Return if the windows in a folder count so many events, and each window of a key its share."""
    counts = [
        int(row[2]) for file in folder.rglob("part-*") for row in csv.reader(file.read_text().splitlines())
    ]
    if sum(counts) != events or set(counts) != {EVENTS_OF_A_ROW}:
        raise CommandFailed(f"{len(counts)} windows with {sum(counts)} events instead of {events}")


def _rows(runs: Sequence[SparkRun]) -> dict[str, list[float]]:
    spans = [(each.measured["start"], each.measured["end"]) for each in runs]
    return {
        "cpu": [each.course.between(*span) for each, span in zip(runs, spans, strict=True)],
        "wall": [end - start for start, end in spans],
        "command": [each.usage.cpu_s for each in runs],
    }
