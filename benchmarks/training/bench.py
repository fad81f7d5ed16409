"""`python -m benchmarks training`: all-reduce and training steps over sealed collectives, against plain gloo."""

from __future__ import annotations

import json
import secrets
import socket
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.measure import Comparison
from benchmarks.options import Options
from benchmarks.process import CommandFailed
from benchmarks.report import Bar, Report, ratio, table

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 900
WHAT = {
    "all-reduce": ("all-reduce of 25 MB", 1.5),
    "CNN": ("training step, small CNN", 1.15),
    "transformer": ("training step, 25 M parameters", 1.15),
}
Run = Mapping[str, Mapping[str, Sequence[float]]]


def run(options: Options) -> Report:
    """Measure and report."""
    if options.plain_only:
        raise CommandFailed("it has no plain side")
    python = torch_python()
    rounds = 5 if options.runs >= 5 else 1
    return _report([_pair(python, rounds) for _ in range(options.runs)])


def torch_python() -> Path:
    """Return the interpreter of an environment that has torch."""
    for python in (ROOT / ".local/torch/bin/python", Path(sys.executable)):
        if (
            python.exists()
            and subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0
        ):
            return python
    raise CommandFailed("it needs PyTorch: `make setup-torch`")


def _pair(python: Path, rounds: int) -> Run:
    """Run two ranks to their end, and return what rank 0 measured."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key, command = secrets.token_hex(32), [str(python), "-m", "benchmarks.training.rank"]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(port), str(rounds)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for rank in range(2)
    ]
    for rank in ranks:
        assert rank.stdin is not None
        rank.stdin.write(key + "\n")
        rank.stdin.flush()
    ended = [rank.communicate(timeout=TIMEOUT_S) for rank in ranks]
    for rank, (_, errors) in zip(ranks, ended, strict=True):
        if rank.returncode != 0:
            raise CommandFailed(f"a rank ended with exit code {rank.returncode}:\n{errors[-4000:]}")
    measured: Run = json.loads(ended[0][0])
    return measured


def _report(runs: Sequence[Run]) -> Report:
    rows, bars = [], []
    for name, (what, limit) in WHAT.items():
        medians = {
            side: [1000 * statistics.median(one[name][side]) for one in runs] for side in ("plain", "sealed")
        }
        comparison = Comparison(tuple(medians["plain"]), tuple(medians["sealed"]))
        plain, sealed = (statistics.median(medians[side]) for side in ("plain", "sealed"))
        rows.append([what, f"{plain:.1f}", f"{sealed:.1f}", ratio(comparison)])
        bars.append(Bar(f"{what}, time relative to plain gloo", comparison.ratio(), limit))
    floor = {
        name: 1000 * statistics.median(one["floor"][name][0] for one in runs) for name in runs[0]["floor"]
    }
    limits = table(["limit", "ms"], [[name, f"{ms:.1f}"] for name, ms in floor.items()])
    return Report(
        title="Training over sealed collectives",
        tables=(table(["", "gloo, ms", "confide, ms", "ratio [95 %]"], rows), limits),
        bars=tuple(bars),
        notes=(
            f"{len(runs)} pairs of processes, in each both sides in turn; medians. Two ranks of one thread each, on "
            "loopback. A rank seals and opens 25 MB in an all-reduce of 25 MB; the limits are those of one core.",
        ),
        raw={"runs": list(runs)},
    )
