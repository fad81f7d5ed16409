"""Fuzzing, guided by coverage, of every parser that sees bytes of others: `make fuzz`; `python -m tests.fuzz.run NAME`.

Each parser is fuzzed in a process of its own, and what was found is measured in another. Inputs that reach new code are
kept in .local/fuzz for the next run. To keep an input for good, put it into tests/vectors/fuzz/<target>/.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .seeds import seeds_of
from .targets import TARGETS

ROOT = Path(__file__).parents[2]
_RUNS = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_DONE = re.compile(r"Done (\d+) runs in")
_AT = re.compile(r"^#(\d+)", re.MULTILINE)
_GRACE_SECONDS = 180
_LEAST_SECONDS = 5


@dataclass(frozen=True)
class Result:
    """What became of a target.

    Attributes:
        runs: inputs that were tried.
        rate: of them, per second.
        slowest: seconds of processor time.
        largest: bytes of memory.
        faults: file and what is wrong with it.
    """

    name: str
    runs: int
    rate: float
    slowest: float
    largest: int
    faults: list[tuple[str, str]]

    @property
    def row(self) -> str:
        """Its row of the table."""
        return (
            f"{self.name:24} {self.runs:10} {self.rate:10.0f} {self.slowest * 1000:10.1f} "
            f"{self.largest / 2**20:10.1f} {len(self.faults):8}"
        )


HEADINGS = f"{'target':24} {'runs':>10} {'runs/s':>10} {'slowest ms':>10} {'peak MiB':>10} {'crashes':>8}"


def fuzz(name: str, seconds: int, folder: Path) -> Result:
    """Fuzz one target, then measure what was found."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.is_file():
            old.unlink()
    corpus = folder / "corpus"
    corpus.mkdir(exist_ok=True)
    for number, seed in enumerate(seeds_of(name)):
        (corpus / f"seed-{number}").write_bytes(seed[: TARGETS[name].most])
    said = _worker(["fuzz", name, str(seconds), str(folder)], seconds + _GRACE_SECONDS)
    (folder / "log.txt").write_text(said.stderr[-100_000:])
    runs = _number(said.stderr)
    measured = _worker(["measure", name, str(folder)], _GRACE_SECONDS)
    try:
        document = json.loads(measured.stdout)
    except ValueError:
        said_last = (measured.stderr or said.stderr).strip().splitlines()[-1:] or ["nothing"]
        return Result(name, runs, runs / seconds, 0, 0, [(str(folder), f"measuring failed: {said_last[0]}")])
    faults = [(path, what) for path, what in document["faults"]]
    if said.returncode != 0 and not faults:
        faults.append((str(folder / "log.txt"), f"the fuzzer ended with {said.returncode}"))
    return Result(name, runs, runs / seconds, document["slowest"], document["largest"], faults)


def _worker(arguments: list[str], limit: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz.worker", *arguments]
    try:
        return subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=limit, check=False
        )
    except subprocess.TimeoutExpired as expired:
        said = expired.stderr or b""
        text = said.decode(errors="replace") if isinstance(said, bytes) else said
        return subprocess.CompletedProcess(command, 124, "", text + "\nended for its time")


def _number(log: str) -> int:
    for pattern in (_RUNS, _DONE):
        if found := pattern.findall(log):
            return int(found[-1])
    return max(map(int, _AT.findall(log)), default=0)


def main() -> int:
    """Fuzz, print the table, and return 1 where something was found."""
    parser = argparse.ArgumentParser(description="Fuzz the parsers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(TARGETS))
    parser.add_argument("--minutes", type=float, default=10, help="of all targets together (10)")
    parser.add_argument("--fresh", action="store_true", help="forget the inputs of earlier runs")
    arguments = parser.parse_args()
    names = arguments.names or list(TARGETS)
    if unknown := set(names) - TARGETS.keys():
        parser.error(f"no target {', '.join(sorted(unknown))}")
    folder = ROOT / ".local" / "fuzz"
    if arguments.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    cores = len(os.sched_getaffinity(0))
    seconds = max(_LEAST_SECONDS, int(arguments.minutes * 60 * cores / len(names)))
    print(f"{len(names)} targets, {seconds} s each, {cores} at a time\n{HEADINGS}", flush=True)
    results = []
    with ThreadPoolExecutor(cores) as pool:
        for result in pool.map(lambda name: fuzz(name, seconds, folder / name), names):
            print(result.row, flush=True)
            results.append(result)
    runs, faults = sum(result.runs for result in results), [f for result in results for f in result.faults]
    print(f"{len(names)} targets, {runs} runs, {len(faults)} faults")
    for path, what in faults:
        print(f"{path}: {what}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
