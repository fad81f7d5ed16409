"""The machine that figures belong to."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine() -> dict[str, str | int | float]:
    """Return CPU model, cores, memory, load average and versions."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "memory_gib": round(memory / 2**30, 1),
        "load_1min": round(os.getloadavg()[0], 2),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def markdown(found: dict[str, str | int | float]) -> str:
    """Return the machine as one line."""
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['memory_gib']} GiB; Linux {found['kernel']}, Python "
        f"{found['python']}; load average before: {found['load_1min']}"
    )


def _cpu() -> str:
    fields = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    return next(
        (value.strip() for name, _, value in fields if name.strip() == "model name"), platform.machine()
    )
