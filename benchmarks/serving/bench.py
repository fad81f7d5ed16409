"""`python -m benchmarks serving`: server CPU of a request to a small model, ours and other servers', and latencies."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests import models

from benchmarks.measure import Comparison, bootstrap_median, interleave
from benchmarks.options import Options
from benchmarks.owner import new_owner
from benchmarks.process import CommandFailed
from benchmarks.report import Bar, Report, interval, ratio, table
from benchmarks.serving.servers import Running, ours, peer
from benchmarks.workspace import workspace

CLIENTS = 16
PEERS = ("fastapi", "mlserver", "litserve", "bentoml", "ray")
FORMS = {"confide, plain": "plain", "confide, sealed": "sealed", "confide, ticket": "ticket"}


@dataclass(frozen=True)
class Run:
    """Load on one server: CPU of its processes for each request, and what its clients saw."""

    cpu_ms: float
    per_s: float
    p50_ms: float
    p99_ms: float


def run(options: Options) -> Report:
    """Measure and report; a peer that cannot run here is left out, and named."""
    if options.plain_only:
        raise CommandFailed("it needs `confide serve`")
    seconds = 4.0 if options.runs >= 5 else 1.0
    missing = []
    with workspace() as folder, ExitStack() as stack:
        owner = stack.enter_context(new_owner(folder))
        models.mlp(owner.folder / "model.onnx")
        running = {name: stack.enter_context(ours(owner)) for name in ["confide"]}
        sides = {name: partial(_load, running["confide"], form, seconds) for name, form in FORMS.items()}
        for name in PEERS:
            place = folder / name
            place.mkdir()
            models.mlp(place / "model.onnx")
            server: AbstractContextManager[Running] = peer(name, place)
            try:
                found = stack.enter_context(server)
                _load(found, found.form, 1.0)
            except CommandFailed as error:
                missing.append(f"{name} ({str(error).splitlines()[0]})")
                continue
            sides[name] = partial(_load, found, found.form, seconds)
        results = interleave(options.runs, sides)
    return _report(results, missing, options, seconds)


def _load(server: Running, form: str, seconds: float) -> Run:
    given = {"url": server.url, "path": server.path, "form": form, "seconds": seconds, "clients": CLIENTS}
    given["shape"] = [1, 16]
    return loaded("benchmarks.serving.load", given | dict(server.more), server.pid)


def loaded(module: str, given: Mapping[str, object], pid: int | None) -> Run:
    """Return what a load, told to a module's process, cost the process tree of a server; None: it cost itself."""
    command = [sys.executable, "-m", module, json.dumps(given)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    before = 0.0
    found = {}
    for line in process.stdout:
        if line.startswith("measuring"):
            before = _tree_cpu_s(pid) if pid is not None else 0.0
        elif line.startswith("{"):
            found = json.loads(line)
            used = _tree_cpu_s(pid) - before if pid is not None else found["cpu_s"]
    if process.wait() or not found:
        assert process.stderr is not None
        raise CommandFailed(f"load: {process.stderr.read()[-500:]}")
    requests = found["requests"]
    return Run(1e3 * used / requests, requests / found["seconds"], found["p50_ms"], found["p99_ms"])


def _tree_cpu_s(pid: int) -> float:
    """Return user and system time of a process and its descendants, from proc(5)."""
    children, used = defaultdict[int, list[int]](list), dict[int, float]()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        process = int(path.parent.name)
        children[int(fields[1])].append(process)
        # What children took that have ended and were waited for counts too.
        used[process] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    total, todo = 0.0, [pid]
    while todo:
        process = todo.pop()
        total += used.get(process, 0.0)
        todo += children[process]
    return total


def _report(results: dict[str, list[Run]], missing: list[str], options: Options, seconds: float) -> Report:
    rows = []
    cpu = {name: [run.cpu_ms for run in runs] for name, runs in results.items()}
    plain = cpu["confide, plain"]
    for name, runs in results.items():
        rows.append(
            [
                name,
                interval(statistics.median(cpu[name]), bootstrap_median(cpu[name])),
                ratio(Comparison(tuple(plain), tuple(cpu[name]))),
                *(
                    f"{statistics.median(getattr(run, field) for run in runs):.1f}"
                    for field in ("per_s", "p50_ms", "p99_ms")
                ),
            ]
        )
    bars = [
        Bar("server CPU of a sealed request, ms", statistics.median(cpu["confide, sealed"]), 0.30),
        Bar("server CPU of a request under a ticket, ms", statistics.median(cpu["confide, ticket"]), 0.20),
    ]
    for name in results:
        if name == "fastapi":
            compared = Comparison(tuple(cpu[name]), tuple(plain))
            bars.append(Bar("CPU of a plain request, relative to FastAPI", compared.ratio(), 1.0))
        elif name not in FORMS:
            compared = Comparison(tuple(plain), tuple(cpu[name]))
            bars.append(Bar(f"CPU of {name}, relative to a plain request", compared.ratio(), 3.0, True))
            sealed = Comparison(tuple(cpu["confide, sealed"]), tuple(cpu[name]))
            bars.append(Bar(f"CPU of {name}, relative to a sealed request", sealed.ratio(), 1.0, True))
    columns = ["server", "CPU, ms per request [95 %]", "relative to plain", "req/s", "p50, ms", "p99, ms"]
    notes = [
        f"{options.runs} interleaved runs of {seconds:.0f} s, {CLIENTS} clients with one connection each, a perceptron "
        "(16-64-64-4) on one thread, one row a request. CPU: of the server's process tree, from /proc. Ours and "
        "FastAPI's over TLS 1.3, raw or binary tensors; the others in clear, with JSON, batching on. The load is a "
        "process of its own on the same machine, so requests per second and latencies say little.",
    ]
    if missing:
        notes.append("Left out, as they did not run here: " + "; ".join(missing) + ".")
    raw = {name: [vars(run) for run in runs] for name, runs in results.items()}
    return Report("Serving a small model", (table(columns, rows),), tuple(bars), tuple(notes), raw)
