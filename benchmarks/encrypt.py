"""`python -m benchmarks encrypt`: one large file, `confide encrypt` against age, gpg and the disk."""

from __future__ import annotations

import os
import re
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Comparison, interleave
from benchmarks.options import Options
from benchmarks.owner import KEY, Owner, new_owner
from benchmarks.process import CommandFailed, Done, Usage, measure
from benchmarks.report import Bar, Report, ratio, table
from benchmarks.workspace import random_file, renew, workspace

CONFIDE, START, DISK = "confide", "confide, one byte", "dd"
MEMORY_BAR_MB = 300.0


@dataclass(frozen=True)
class FileRun:
    """One encryption.

    Attributes:
        usage: of the command.
        durable_s: until the output was on the disk: the command's wall time and that of an fsync(2) after it, so that
            tools that leave their output in the page cache are compared fairly.
    """

    usage: Usage
    durable_s: float


def run(options: Options) -> Report:
    """Measure and report."""
    source = random_file(options.file_bytes)
    _read(source)
    with workspace() as folder, _sides(source, folder, options) as (sides, missing):
        results = interleave(options.runs, sides)
        openssl = [_openssl_bytes_per_s() for _ in range(options.runs)] if shutil.which("openssl") else []
    return _report(results, openssl, missing, options)


@contextmanager
def _sides(
    source: Path, folder: Path, options: Options
) -> Iterator[tuple[dict[str, Callable[[], FileRun]], list[str]]]:
    """Yield name -> how to encrypt once, and the names of tools that are not installed."""
    target = folder / "encrypted"
    missing = [tool for tool in ("age", "gpg", "openssl") if not shutil.which(tool)]
    sides: dict[str, Callable[[], FileRun]] = {}

    def command(*argv: str | Path) -> Callable[[], FileRun]:
        return lambda: _timed(lambda: measure(argv), target)

    with new_owner(folder) if not options.plain_only else _nobody() as owner:
        if owner is not None:
            sides[CONFIDE] = lambda: _timed(
                lambda: owner.confide("encrypt", source, "encrypted", "--key", KEY),
                owner.folder / "encrypted",
            )
        if "age" not in missing:
            sides["age -r"] = command("age", "-r", _age_recipient(folder), "-o", target, source)
        if "gpg" not in missing:
            sides["gpg --symmetric"] = lambda: _timed(lambda: _gpg(folder, source, target), target)
        sides[DISK] = command("dd", f"if={source}", f"of={target}", "bs=1M", "conv=fsync", "status=none")
        try:
            yield sides, missing
        finally:
            if "gpg" not in missing:
                subprocess.run(["gpgconf", "--homedir", folder / "gnupg", "--kill", "all"], check=False)


def _confide(owner: Owner, source: Path) -> FileRun:
    target = owner.folder / "encrypted"
    return _timed(lambda: owner.confide("encrypt", source, "encrypted", "--key", KEY), target)


@contextmanager
def _nobody() -> Iterator[Owner | None]:
    yield None


def _timed(encrypt: Callable[[], Done], target: Path) -> FileRun:
    renew(target)
    os.sync()
    done = encrypt()
    start = time.monotonic()
    for path in [target, *target.rglob("*")] if target.is_dir() else [target]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    return FileRun(done.usage, done.usage.wall_s + time.monotonic() - start)


def _age_recipient(folder: Path) -> str:
    identity = folder / "age.key"
    subprocess.run(["age-keygen", "-o", identity], check=True, capture_output=True)
    return subprocess.run(
        ["age-keygen", "-y", identity], check=True, capture_output=True, text=True
    ).stdout.strip()


def _gpg(folder: Path, source: Path, target: Path) -> Done:
    home = folder / "gnupg"
    home.mkdir(mode=0o700, exist_ok=True)
    reader, writer = os.pipe()
    try:
        os.write(writer, b"a passphrase of no value\n")
        os.close(writer)
        options = f"--homedir {home} --batch --quiet --pinentry-mode loopback --passphrase-fd {reader}"
        cipher = f"--symmetric --cipher-algo AES256 --compress-algo none --output {target}"
        return measure(["gpg", *options.split(), *cipher.split(), source], pass_fds=[reader], grace_s=0.5)
    finally:
        os.close(reader)


def _openssl_bytes_per_s() -> float:
    argv = ["openssl", "speed", "-mr", "-seconds", "1", "-bytes", "16384", "-evp", "aes-256-gcm"]
    output = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    found = re.search(r"^\+F:\d+:[^:]+:([0-9.]+)$", output, re.MULTILINE)
    if not found:
        raise CommandFailed("openssl speed printed no rate")
    return float(found[1])


def _read(path: Path) -> None:
    with path.open("rb") as file:
        while file.read(1 << 20):
            pass


def _report(
    results: dict[str, list[FileRun]], openssl: list[float], missing: list[str], options: Options
) -> Report:
    size = options.file_bytes
    wall = {name: tuple(run.durable_s for run in runs) for name, runs in results.items()}
    rows = []
    for name, runs in results.items():
        durable = statistics.median(wall[name])
        rows.append(
            [
                name,
                f"{statistics.median(run.usage.wall_s for run in runs):.2f}",
                f"{durable:.2f}",
                f"{size / durable / 1e6:.0f}" if name != START else "",
                f"{statistics.median(run.usage.cpu_s for run in runs):.2f}",
                f"{max(run.usage.peak_rss_bytes for run in runs) / 1e6:.0f}",
                ratio(Comparison(wall[CONFIDE], wall[name]))
                if CONFIDE in wall and name not in (CONFIDE, START)
                else "",
            ]
        )
    if openssl:
        rows.append(
            ["openssl speed, one core", "", "", f"{statistics.median(openssl) / 1e6:.0f}", "", "", ""]
        )
    columns = ["", "wall s", "on disk s", "MB/s", "CPU s", "peak MB", "time / confide's [95 %]"]
    return Report(
        f"Encrypting a file of {size / 1e6:,.0f} MB",
        (table(columns, rows),),
        _bars(results, wall, openssl, size),
        (
            f"Medians of {options.runs} interleaved runs (peak memory: the largest); random bytes, read from the page "
            "cache. `on disk` ends with an fsync of the output, for every tool; `dd` copies the file with `conv=fsync` "
            "and is the disk's own rate. MB/s is of `on disk`. CPU of the whole process tree; memory of its largest "
            "process. `confide` includes starting Python and opening the home (Argon2id); encrypting one byte shows "
            "how much that is.",
            *([f"Not installed, so not compared: {', '.join(missing)}."] if missing else []),
        ),
        {
            "files": {
                name: [{**vars(run.usage), "durable_s": run.durable_s} for run in runs]
                for name, runs in results.items()
            },
            "openssl_bytes_per_s": openssl,
        },
    )


def _bars(
    results: dict[str, list[FileRun]], wall: dict[str, tuple[float, ...]], openssl: list[float], size: int
) -> tuple[Bar, ...]:
    if CONFIDE not in results:
        return ()
    mine = wall[CONFIDE]
    bars = [
        Bar(f"time relative to {name}", Comparison(theirs, mine).ratio(), 1.0)
        for name, theirs in wall.items()
        if name not in (CONFIDE, START, DISK)
    ]
    disk = size / statistics.median(wall[DISK])
    rate = size / statistics.median(mine)
    if openssl:
        half = statistics.median(openssl) / 2
        what = (
            "half of openssl's rate" if half <= disk else "the disk's rate, which is below half of openssl's"
        )
        bars.append(Bar(f"rate relative to {what}", rate / min(half, disk), 1.0, at_least=True))
    peak = max(run.usage.peak_rss_bytes for run in results[CONFIDE]) / 1e6
    return (*bars, Bar("peak memory, MB", peak, MEMORY_BAR_MB))
