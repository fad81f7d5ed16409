"""One parser in one process: fuzzed (`fuzz`), or the inputs that were found measured (`measure`). Started by `run`.

libFuzzer ends the process at the first exception and keeps the input. Inputs that seem slow or large are kept too: the
parser runs instrumented here, so whether they are is for `measure` to say, in a process without.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import resource
import sys
from pathlib import Path

_HANG_SECONDS = 10
_MOST_ADDRESS_SPACE = 3 * 2**30
_MOST_RESIDENT_MB = 1024
_INSTRUMENTED = ["confide", "asn1crypto", "joserfc", "packaging", "shlex", "tomllib"]
_KEPT = 24


def fuzz(name: str, seconds: int, folder: Path) -> None:
    """Fuzz until `seconds` have passed or something is raised; seeds and what is found lie in `folder`/corpus."""
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        from .targets import TARGETS
    from .cost import MOST_BYTES, MOST_SECONDS, seconds_of

    target = TARGETS[name]
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_ADDRESS_SPACE, hard))
    highest = 0
    slowest = MOST_SECONDS
    kept = 0

    def keep(kind: str, data: bytes) -> None:
        nonlocal kept
        kept += 1
        if kept <= _KEPT:
            (folder / f"{kind}-{hashlib.sha256(data).hexdigest()[:16]}").write_bytes(data)

    def one(data: bytes) -> None:
        nonlocal highest, slowest
        seconds_taken = seconds_of(target.run, data)
        if (
            seconds_taken > slowest
            and (least := min(seconds_of(target.run, data) for _ in range(3))) > slowest
        ):
            slowest = least
            keep("slow", data)
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if resident > highest + MOST_BYTES // 8:
            if highest:
                keep("large", data)
            highest = resident

    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-max_len={target.most}",
        f"-timeout={_HANG_SECONDS}",
        f"-rss_limit_mb={_MOST_RESIDENT_MB}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
        "-seed=1",
        str(folder / "corpus"),
    ]
    atheris.Setup(arguments, one)
    atheris.Fuzz()


def measure(name: str, folder: Path) -> None:
    """Print, as JSON, the costs of the inputs that were found, and what was raised."""
    from .cost import MOST_SECONDS, bytes_of, cost_of, seconds_of
    from .targets import TARGETS

    target = TARGETS[name]
    found = [path for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".txt"]
    slowest, largest, faults = 0.0, 0, []
    for path in sorted((folder / "corpus").iterdir()):
        data = path.read_bytes()
        with contextlib.suppress(Exception):  # what raises is among those found
            taken = seconds_of(target.run, data)
            slowest = max(slowest, min(taken, MOST_SECONDS))
            if taken > MOST_SECONDS:
                found.append(path)
    by_size = sorted((folder / "corpus").iterdir(), key=lambda path: path.stat().st_size)[-50:]
    for path in by_size:
        with contextlib.suppress(Exception):
            largest = max(largest, bytes_of(target.run, path.read_bytes()))
    for path in found:
        try:
            cost = cost_of(target.run, path.read_bytes())
        except Exception as error:
            faults.append([str(path), f"{type(error).__name__}: {error}"[:300]])
            continue
        slowest, largest = max(slowest, cost.seconds), max(largest, cost.bytes)
        if cost.excess:
            faults.append([str(path), cost.excess])
        elif path.name.startswith(("timeout-", "oom-", "crash-")):
            faults.append([str(path), "ended the fuzzer, though not by an exception"])
    print(json.dumps({"slowest": slowest, "largest": largest, "faults": faults}))


if __name__ == "__main__":
    if sys.argv[1] == "fuzz":
        fuzz(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        measure(sys.argv[2], Path(sys.argv[3]))
