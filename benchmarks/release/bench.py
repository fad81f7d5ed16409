"""`python -m benchmarks release`: CPU of a broker process for an attested release and for a proof, and latencies."""

from __future__ import annotations

import datetime
import json
import os
import random
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

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.measure import Comparison, bootstrap_median, interleave, percentile
from benchmarks.options import Options
from benchmarks.owner import CONFIDE, KEY, NAME, Owner, new_owner
from benchmarks.process import CommandFailed, measure
from benchmarks.release.client import PACE_S
from benchmarks.report import Bar, Report, interval, ratio, table
from benchmarks.workspace import workspace

BAR_MS = 5.0
NO_SLOWER = 1.05
"""A ratio up to which two sides count as equal: runs of one side differ by that much."""
MEASUREMENT = "0123456789abcdef" * 4
_FILL_PER_TRANSACTION = 1_000
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Rounds:
    """Rounds of one kind in one run: the broker's CPU for each, and each one's latency at the client."""

    broker_cpu_s: float
    latencies_s: tuple[float, ...]


@dataclass(frozen=True)
class Run:
    """One run: attested releases, and proofs of the audit log."""

    releases: Rounds
    proofs: Rounds


def run(options: Options) -> Report:
    """Measure and report."""
    if options.plain_only:
        raise CommandFailed("it has no plain side")
    with workspace() as folder, ExitStack() as owners:
        sides: dict[str, Callable[[], Run]] = {}
        for entries in options.audit_entries:
            part = folder / str(entries)
            part.mkdir()
            owner = owners.enter_context(new_owner(part))
            signing_key = prepare(owner, entries)
            sides[f"{entries:,}"] = partial(_run, owner, signing_key, entries, options.rounds)
        results = interleave(options.runs, sides)
    return _report(results, options)


def prepare(owner: Owner, entries: int) -> Ed25519PrivateKey:
    """Put a policy into force, fill the audit log with releases that never were; return the owner's signing key."""
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
    from confide.keys.signing import private_key_from_raw

    entry = {"kind": "release", "owner": NAME, "workload": "bench", "measurement": MEASUREMENT, "key": KEY}
    with Home.open(owner.home, owner.passphrase()) as home:
        while (missing := entries - home.store.audit.size()) > 0:
            with home.store.transaction():
                for _ in range(min(missing, _FILL_PER_TRANSACTION)):
                    home.store.audit.append(entry)
        return private_key_from_raw(home.store.owner_signing_key(NAME))


def _run(owner: Owner, signing_key: Ed25519PrivateKey, entries: int, rounds: int) -> Run:
    with broker(owner) as (pid, url):
        client: list[str | Path] = [
            sys.executable,
            "-m",
            "benchmarks.release.client",
            url,
            owner.folder / "ca.pem",
            owner.home,
        ]
        measure([*client, MEASUREMENT, str(max(2, rounds // 10))], cwd=ROOT)  # to warm up
        before = cpu_s(pid)
        done = measure([*client, MEASUREMENT, str(rounds)], cwd=ROOT)
        releases = Rounds((cpu_s(pid) - before) / rounds, tuple(json.loads(done.output)))
        _prove(owner, signing_key, url, entries, max(2, rounds // 10))
        before = cpu_s(pid)
        latencies = _prove(owner, signing_key, url, entries, rounds)
        return Run(releases, Rounds((cpu_s(pid) - before) / rounds, latencies))


def _prove(
    owner: Owner, signing_key: Ed25519PrivateKey, url: str, entries: int, rounds: int
) -> tuple[float, ...]:
    """Ask for proofs of inclusion and of consistency in turn, anywhere in the log; return the latencies in seconds."""
    from confide.broker.client import OwnerClient

    draw = random.Random(entries)
    client = OwnerClient(url, (owner.folder / "ca.pem").read_bytes(), NAME, signing_key)
    latencies = []
    for number in range(rounds):
        start = time.perf_counter()
        if number % 2:
            proof = client.inclusion_proof(draw.randrange(entries), entries)
        else:
            proof = client.consistency_proof(draw.randrange(1, entries), entries)
        latencies.append(time.perf_counter() - start)
        assert proof
        time.sleep(max(0.0, start + PACE_S - time.perf_counter()))
    client.close()
    return tuple(latencies)


@contextmanager
def broker(owner: Owner) -> Iterator[tuple[int, str]]:
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


def cpu_s(pid: int) -> float:
    """Return user and system time of one process, from proc(5): fields 14 and 15 of its stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _report(results: dict[str, list[Run]], options: Options) -> Report:
    kinds: dict[str, Callable[[Run], Rounds]] = {
        "release": lambda run: run.releases,
        "proof": lambda run: run.proofs,
    }
    tables, bars = [], []
    for kind, of in kinds.items():
        cpu_ms = {entries: [1e3 * of(run).broker_cpu_s for run in runs] for entries, runs in results.items()}
        rows = []
        for entries, runs in results.items():
            middle = statistics.median(cpu_ms[entries])
            latencies = [1e3 * latency for run in runs for latency in of(run).latencies_s]
            cells = [interval(middle, bootstrap_median(cpu_ms[entries]))]
            cells += [f"{percentile(latencies, share):.1f}" for share in (0.5, 0.99)]
            rows.append([entries, *cells])
            if kind == "release":
                bars.append(Bar(f"broker CPU of a release with {entries} audit entries, ms", middle, BAR_MS))
        least, most = next(iter(cpu_ms)), list(cpu_ms)[-1]
        compared = Comparison(tuple(cpu_ms[least]), tuple(cpu_ms[most]))
        rows.append([f"{most} / {least}", ratio(compared), "", ""])
        bars.append(
            Bar(
                f"broker CPU of a {kind} with {most} entries, relative to {least}",
                compared.ratio(),
                NO_SLOWER,
            )
        )
        columns = ["audit entries", f"broker CPU, ms per {kind} [95 %]", "p50, ms", "p99, ms"]
        tables.append(table(columns, rows))
    return Report(
        "Attested release, and proofs of the audit log",
        tuple(tables),
        tuple(bars),
        (
            f"{options.runs} interleaved runs of {options.rounds} rounds of each kind, one client. A release is a new "
            "TLS connection, challenge, attestation and release, with its audit entry on the disk. A proof is a nonce "
            "and an owner's signed call: of inclusion and of consistency in turn, anywhere in the log. Rounds start "
            f"at least {PACE_S * 1e3:.0f} ms apart, below the broker's limit of requests. Broker CPU: median over "
            "runs, from /proc; latency at the client: over all rounds, the client's own signatures included.",
        ),
        {
            entries: [{kind: vars(of(run)) for kind, of in kinds.items()} for run in runs]
            for entries, runs in results.items()
        },
    )
