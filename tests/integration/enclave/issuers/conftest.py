"""Mounts stand-ins, and starts a software TPM filled as Azure's paravisor fills its own."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

STANDINS = Path(__file__).with_name("standins.py")
_PR_SET_PTRACER, _ANY = 0x59616D61, -1


@pytest.fixture
def mounted(tmp_path):
    """Return mount(kind, **settings) -> folder in which the stand-in's files are."""
    pytest.importorskip("mfusepy", reason="needs mfusepy", exc_type=OSError)
    if not Path("/dev/fuse").exists():
        pytest.skip("needs FUSE")
    ctypes.CDLL(None).prctl(
        _PR_SET_PTRACER, _ANY, 0, 0, 0
    )  # Occlum's stand-in writes into the asker's memory
    with contextlib.ExitStack() as stack:
        count = iter(range(100))

        def mount(kind, **settings):
            place = tmp_path / f"mounted-{next(count)}"
            place.mkdir()
            outside = place.stat().st_dev
            process = subprocess.Popen(
                [sys.executable, str(STANDINS), kind, str(place)],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            stack.callback(_unmount, process, place)
            process.stdin.write(json.dumps(settings).encode())
            process.stdin.close()
            while place.stat().st_dev == outside:
                if process.poll() is not None:
                    pytest.skip(f"cannot mount: {process.stderr.read().decode()[-200:]}")
                time.sleep(0.01)
            return place

        yield mount


def _unmount(process, place):
    subprocess.run(["fusermount3", "-u", "-z", str(place)], check=False, stderr=subprocess.DEVNULL)
    process.stderr.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    if process.poll() is None:
        process.kill()
        process.wait()


@pytest.fixture
def report_data():
    return os.urandom(48) + bytes(16)
