"""`python -m benchmarks at-once`: many attestations at the same time against one broker, as executors make them."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.measure import bootstrap_median, percentile
from benchmarks.options import Options
from benchmarks.owner import Owner, new_owner
from benchmarks.process import CommandFailed, measure
from benchmarks.release.bench import MEASUREMENT, ROOT, broker, cpu_s, prepare
from benchmarks.report import Bar, Report, interval, table
from benchmarks.workspace import workspace

MANY = 100
BAR_MS = 5.0
AUDIT_ENTRIES = 1_000


@dataclass(frozen=True)
class AtOnce:
    """One round: the broker's CPU for each attestation, latencies of those that succeeded, and what failed."""

    broker_cpu_s: float
    latencies_s: tuple[float, ...]
    failures: tuple[str, ...]


def run(options: Options) -> Report:
    """Measure and report."""
    if options.plain_only:
        raise CommandFailed("it has no plain side")
    with workspace() as folder, new_owner(folder) as owner:
        prepare(owner, AUDIT_ENTRIES)
        return _report([_round(owner) for _ in range(options.runs)])


def _round(owner: Owner) -> AtOnce:
    with broker(owner) as (pid, url):
        before = cpu_s(pid)
        client = [sys.executable, "-m", "benchmarks.release.storm", url, owner.folder / "ca.pem", owner.home]
        done = json.loads(measure([*client, MEASUREMENT, str(MANY)], cwd=ROOT).output)
        used = (cpu_s(pid) - before) / MANY
    return AtOnce(used, tuple(done["latencies_s"]), tuple(done["failures"]))


def _report(rounds: Sequence[AtOnce]) -> Report:
    cpu_ms = [1e3 * each.broker_cpu_s for each in rounds]
    latencies = [latency for each in rounds for latency in each.latencies_s]
    failures = sum(len(each.failures) for each in rounds)
    middle = statistics.median(cpu_ms)
    cells = [f"{percentile(latencies, share):.2f}" if latencies else "-" for share in (0.5, 0.99)]
    columns = ["attestations at once", "broker CPU, ms each [95 %]", "p50, s", "p99, s", "failures"]
    row = [str(MANY), interval(middle, bootstrap_median(cpu_ms)), *cells, str(failures)]
    return Report(
        "Attestations at once",
        (table(columns, [row]),),
        (
            Bar("failed attestations", failures, 0),
            Bar("broker CPU of an attestation among many, ms", middle, BAR_MS),
        ),
        (
            f"{len(rounds)} rounds, each with a broker just started: {MANY} threads of one client begin together; each "
            "connects, attests, asks for a release and closes. The latency holds the client's own work, all on this "
            "machine.",
        ),
        {"rounds": [vars(each) for each in rounds]},
    )
