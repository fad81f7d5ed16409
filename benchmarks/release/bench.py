"""`python -m benchmarks release`: CPU of a broker process for one attested release, and its latency."""

from __future__ import annotations

import datetime
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.measure import bootstrap_median, interleave, percentile
from benchmarks.options import Options
from benchmarks.owner import CONFIDE, KEY, NAME, Owner, new_owner
from benchmarks.process import CommandFailed, measure
from benchmarks.release.client import PACE_S
from benchmarks.report import Bar, Report, interval, table
from benchmarks.workspace import workspace

BAR_MS = 5.0
MEASUREMENT = "0123456789abcdef" * 4
_FILL_PER_TRANSACTION = 1_000
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Rounds:
    """One run: the broker's CPU for each round, and each round's latency at the client."""

    broker_cpu_s: float
    latencies_s: tuple[float, ...]


def run(options: Options) -> Report:
    """Measure and report."""
    if options.plain_only:
        raise CommandFailed("it has no plain side")
    with workspace() as folder, ExitStack() as owners:
        sides: dict[str, Callable[[], Rounds]] = {}
        for entries in options.audit_entries:
            part = folder / str(entries)
            part.mkdir()
            owner = owners.enter_context(new_owner(part))
            _prepare(owner, entries)
            sides[f"{entries:,}"] = partial(_rounds, owner, options.rounds)
        results = interleave(options.runs, sides)
    return _report(results, options)


def _prepare(owner: Owner, entries: int) -> None:
    """Put a policy into force and fill the audit log with releases that never were."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    until = now + datetime.timedelta(days=1)
    document = f"""version = 1
owner = "{NAME}"
serial = 1
not_before = {now:%Y-%m-%dT%H:%M:%SZ}
not_after = {until:%Y-%m-%dT%H:%M:%SZ}
[[workload]]
name = "bench"
tee = "simulated"
measurements = ["{MEASUREMENT}"]
[[grant]]
workload = "bench"
location = "out/report"
access = "write"
format = "table"
key = "{KEY}"
"""
    (owner.folder / "policy.toml").write_text(document, encoding="utf-8")
    owner.confide("policy", "apply", "policy.toml")
    (owner.folder / "ca.pem").write_text(owner.confide("broker", "ca").output, encoding="utf-8")

    from confide.broker.home import Home

    entry = {"kind": "release", "owner": NAME, "workload": "bench", "measurement": MEASUREMENT, "key": KEY}
    with Home.open(owner.home, owner.passphrase()) as home:
        while (missing := entries - home.store.audit.size()) > 0:
            with home.store.transaction():
                for _ in range(min(missing, _FILL_PER_TRANSACTION)):
                    home.store.audit.append(entry)


def _rounds(owner: Owner, rounds: int) -> Rounds:
    with _broker(owner) as (pid, url):
        client: list[str | Path] = [
            sys.executable,
            "-m",
            "benchmarks.release.client",
            url,
            owner.folder / "ca.pem",
            owner.home,
        ]
        measure([*client, MEASUREMENT, str(max(2, rounds // 10))], cwd=_ROOT)  # to warm up
        before = _cpu_s(pid)
        done = measure([*client, MEASUREMENT, str(rounds)], cwd=_ROOT)
        return Rounds((_cpu_s(pid) - before) / rounds, tuple(json.loads(done.output)))


@contextmanager
def _broker(owner: Owner) -> Iterator[tuple[int, str]]:
    """Run a broker on the owner's home; yield its process id and URL."""
    options: list[str | Path] = ["--home", owner.home, "--passphrase-fd", str(owner.passphrase_fd)]
    broker = subprocess.Popen(
        [CONFIDE, *options, "broker", "serve", "--listen", "127.0.0.1:0", "--allow-simulated"],
        pass_fds=[owner.passphrase_fd],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert broker.stderr is not None
        said = ""
        for line in broker.stderr:
            said += line
            if found := re.search(r"https://([^:\s]+):(\d+)", line):
                _wait_for(found[1], int(found[2]))
                yield broker.pid, found[0]
                return
        raise CommandFailed(f"the broker did not start:\n{said[-2000:]}")
    finally:
        broker.terminate()
        broker.wait()


def _wait_for(host: str, port: int) -> None:
    for _ in range(200):
        with suppress(ConnectionRefusedError), socket.create_connection((host, port)):
            return
        time.sleep(0.05)
    raise CommandFailed(f"the broker does not answer on {host} port {port}")


def _cpu_s(pid: int) -> float:
    """Return user and system time of one process, from proc(5): fields 14 and 15 of its stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _report(results: dict[str, list[Rounds]], options: Options) -> Report:
    rows, bars = [], []
    for entries, runs in results.items():
        cpu = [1e3 * run.broker_cpu_s for run in runs]

        latencies = [1e3 * latency for run in runs for latency in run.latencies_s]
        middle = statistics.median(cpu)
        cell = interval(middle, bootstrap_median(cpu))
        rows.append(
            [entries, cell, f"{percentile(latencies, 0.5):.1f}", f"{percentile(latencies, 0.99):.1f}"]
        )
        bars.append(Bar(f"broker CPU with {entries} audit entries, ms", middle, BAR_MS))
    columns = ["audit entries", "broker CPU, ms per release [95 %]", "p50, ms", "p99, ms"]
    return Report(
        "Attested release",
        (table(columns, rows),),
        tuple(bars),
        (
            f"{options.runs} interleaved runs of {options.rounds} rounds each, one client process; a round is a new "
            "TLS connection, challenge, attestation and release, with its audit entry on the disk. Rounds start at "
            f"least {PACE_S * 1e3:.0f} ms apart, below the broker's limit of requests. Broker CPU: median over runs, "
            "from /proc; latency at the client: over all rounds, the client's own signatures included.",
        ),
        {entries: [vars(run) for run in runs] for entries, runs in results.items()},
    )
