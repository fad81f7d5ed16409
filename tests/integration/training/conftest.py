"""Ranks as processes of their own, which meet at a store of this process."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

RANKS = Path(__file__).with_name("ranks.py")
KEY = "11" * 32


@dataclass(frozen=True)
class Ended:
    """How a rank ended.

    Attributes:
        code: exit code.
        result: what its scenario returned; None: it failed.
        errors: standard error.
    """

    code: int
    result: Any
    errors: str


@pytest.fixture
def store():
    """The store at which ranks meet; anybody may write to it."""
    distributed = pytest.importorskip("torch.distributed")
    return distributed.TCPStore(
        "127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=datetime.timedelta(seconds=60)
    )


@pytest.fixture
def run_ranks(store):
    """Run a scenario of ranks.py to its end on every rank; yields a function."""

    def run(
        scenario: str,
        ranks: int = 2,
        keys: Sequence[str] = (KEY,) * 8,
        attack: Sequence[str] = (),
        absent: int | None = None,
    ) -> list[Ended]:
        processes = [
            subprocess.Popen(
                [sys.executable, str(RANKS), scenario, str(rank), str(ranks), str(store.port), *attack],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
            )
            for rank in range(ranks)
            if rank != absent
        ]
        for process, key in zip(processes, keys, strict=False):
            process.stdin.write(key + "\n")
            process.stdin.flush()
        ended = []
        for process in processes:
            out, errors = process.communicate(timeout=180)
            lines = out.splitlines()
            result = json.loads(lines[-1]) if process.returncode == 0 and lines else None
            ended.append(Ended(process.returncode, result, errors))
        return ended

    return run
