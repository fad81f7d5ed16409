"""`python -m benchmarks serving-resnet`: what serving adds to a model that computes, ResNet-18."""

from __future__ import annotations

import statistics
from functools import partial

from tests import models

from benchmarks.measure import Comparison, bootstrap_median, interleave
from benchmarks.options import Options
from benchmarks.owner import new_owner
from benchmarks.process import CommandFailed
from benchmarks.report import Bar, Report, interval, ratio, table
from benchmarks.serving.bench import Run, loaded
from benchmarks.serving.servers import Running, ours
from benchmarks.workspace import workspace

SHAPE = [1, 3, 224, 224]
ALONE = "onnxruntime in process"


def run(options: Options) -> Report:
    """Measure and report."""
    if options.plain_only:
        raise CommandFailed("it needs `confide serve`")
    seconds = 10.0 if options.runs >= 5 else 2.0
    with workspace() as folder, new_owner(folder) as owner:
        model = models.resnet18(owner.folder / "model.onnx")
        alone = {"path": str(model), "shape": SHAPE, "seconds": seconds}
        with ours(owner, "resnet") as served:
            sides = {ALONE: partial(loaded, "benchmarks.serving.in_process", alone, None)}
            sides |= {form: partial(_load, served, form, seconds) for form in ("plain", "sealed", "ticket")}
            results = interleave(options.runs, sides)
    return _report(results, options, seconds)


def _load(server: Running, form: str, seconds: float) -> Run:
    given = {"url": server.url, "path": server.path, "form": form, "seconds": seconds, "clients": 1}
    return loaded("benchmarks.serving.load", {**given, "shape": SHAPE, **server.more}, server.pid)


def _report(results: dict[str, list[Run]], options: Options, seconds: float) -> Report:
    cpu = {name: tuple(run.cpu_ms for run in runs) for name, runs in results.items()}
    compared = {name: Comparison(cpu[ALONE], each) for name, each in cpu.items()}
    rows = [
        [
            name,
            interval(statistics.median(cpu[name]), bootstrap_median(cpu[name])),
            ratio(compared[name]),
            *(
                f"{statistics.median(getattr(run, field) for run in runs):.1f}"
                for field in ("p50_ms", "p99_ms")
            ),
        ]
        for name, runs in results.items()
    ]
    bars = [
        Bar(f"CPU of a {form} request, relative to onnxruntime alone", compared[form].ratio(), 1.05)
        for form in ("plain", "sealed")
    ]
    note = (
        f"{options.runs} interleaved runs of {seconds:.0f} s; one client, one image of 3x224x224 floats (602 KB) a "
        "request, one thread, random weights. CPU: of the server's process tree, from /proc; by TLS 1.3."
    )
    columns = ["", "CPU, ms per request [95 %]", "relative to onnxruntime", "p50, ms", "p99, ms"]
    raw = {name: [vars(run) for run in runs] for name, runs in results.items()}
    return Report("Serving ResNet-18", (table(columns, rows),), tuple(bars), (note,), raw)
