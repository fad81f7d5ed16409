"""What a parser takes for an input: processor time and memory, against what it may take."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

MOST_SECONDS = 0.050
MOST_BYTES = 50 * 1024 * 1024
_TRIES = 6


@dataclass(frozen=True)
class Cost:
    """What one input took.

    Attributes:
        seconds: of processor time, all threads.
        bytes: the most memory that was held at one time.
    """

    seconds: float
    bytes: int

    @property
    def excess(self) -> str:
        """What is too much of it; empty where nothing is."""
        if self.seconds > MOST_SECONDS:
            return f"{self.seconds * 1000:.0f} ms of processor time, at most {MOST_SECONDS * 1000:.0f} are allowed"
        if self.bytes > MOST_BYTES:
            return f"{self.bytes / 2**20:.0f} MiB, at most {MOST_BYTES / 2**20:.0f} are allowed"
        return ""


def cost_of(run: Callable[[bytes], object], data: bytes) -> Cost:
    """Run once for time and once for memory; what seems slow is measured again, as machines have other things to do."""
    seconds = seconds_of(run, data)
    tries = 1
    while seconds > MOST_SECONDS and tries < _TRIES:
        seconds = min(seconds, seconds_of(run, data))
        tries += 1
    return Cost(seconds, bytes_of(run, data))


def seconds_of(run: Callable[[bytes], object], data: bytes) -> float:
    """Return the processor time of one run, in seconds."""
    start = time.process_time()
    run(data)
    return time.process_time() - start


def bytes_of(run: Callable[[bytes], object], data: bytes) -> int:
    """Return the most memory of one run: that of Python's objects, or what the process grew by, if that is more."""
    gc.collect()
    tracemalloc.start()
    try:
        before = _resident("VmRSS")
        Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM to VmRSS
        run(data)
        grown = _resident("VmHWM") - before
        return max(tracemalloc.get_traced_memory()[1], grown)
    finally:
        tracemalloc.stop()


def _resident(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0
