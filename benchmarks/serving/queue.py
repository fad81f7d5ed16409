"""`python -m benchmarks serving-queue`: server CPU of a request that comes over a queue, and latencies."""

from __future__ import annotations

import shutil
import statistics
from contextlib import ExitStack
from functools import partial

from tests import models
from tests.redis_server import redis_server

from benchmarks.measure import bootstrap_median, interleave
from benchmarks.options import Options
from benchmarks.owner import new_owner
from benchmarks.process import CommandFailed
from benchmarks.report import Bar, Report, interval, table
from benchmarks.serving.bench import Run, loaded
from benchmarks.serving.servers import Running, over_queue
from benchmarks.workspace import workspace

SIDES = {
    "64 at once, sealed": ("sealed", 64),
    "64 at once, ticket": ("ticket", 64),
    "one at a time": ("sealed", 1),
}


def run(options: Options) -> Report:
    """Measure and report."""
    if options.plain_only:
        raise CommandFailed("it needs `confide serve`")
    if shutil.which("redis-server") is None:
        raise CommandFailed("it needs Debian's package redis-server")
    seconds = 4.0 if options.runs >= 5 else 1.0
    with workspace() as folder, ExitStack() as stack:
        owner = stack.enter_context(new_owner(folder))
        models.mlp(owner.folder / "model.onnx")
        redis = stack.enter_context(redis_server(folder / "redis"))
        served = stack.enter_context(over_queue(owner, redis))
        sides = {name: partial(_load, served, form, deep, seconds) for name, (form, deep) in SIDES.items()}
        results = interleave(options.runs, sides)
    return _report(results, options, seconds)


def _load(served: Running, form: str, deep: int, seconds: float) -> Run:
    given = {"url": served.url, "form": form, "deep": deep, "seconds": seconds, **served.more}
    return loaded("benchmarks.serving.queue_load", given, served.pid)


def _report(results: dict[str, list[Run]], options: Options, seconds: float) -> Report:
    cpu = {name: [run.cpu_ms for run in runs] for name, runs in results.items()}
    rows = [
        [
            name,
            interval(statistics.median(cpu[name]), bootstrap_median(cpu[name])),
            *(
                f"{statistics.median(getattr(run, field) for run in runs):.1f}"
                for field in ("per_s", "p50_ms", "p99_ms")
            ),
        ]
        for name, runs in results.items()
    ]
    lone = statistics.median(run.p50_ms for run in results["one at a time"])
    bars = tuple(
        Bar(f"server CPU of a request, {name}, ms", statistics.median(cpu[name]), 0.15)
        for name in list(SIDES)[:2]
    )
    note = (
        f"{options.runs} interleaved runs of {seconds:.0f} s; one worker, a perceptron (16-64-64-4) on one thread, one "
        "row a request. Redis by TLS 1.3, each command on disk before it is answered. CPU: of the worker's enclave and "
        "its relay, from /proc, without Redis and without a front end; the load puts requests into the queue itself."
    )
    columns = ["requests", "CPU, ms per request [95 %]", "req/s", "p50, ms", "p99, ms"]
    raw = {name: [vars(run) for run in runs] for name, runs in results.items()}
    bars = (*bars, Bar("p50 of a lone client, ms", lone, 6.0))
    return Report("Serving over a queue", (table(columns, rows),), bars, (note,), raw)
