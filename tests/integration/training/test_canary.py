"""What ranks know is in no packet between them; with plain gloo it is."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.torch,
    pytest.mark.canary,
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.geteuid() != 0, reason="packet capture needs root"),
]

HERE = Path(__file__).parent
WATCH = HERE.parent / "canary" / "run_watched.py"


def _values() -> bytes:
    """Return 8 random numbers: as bytes nobody sends them by chance."""
    return struct.pack("<8f", *torch.rand(8).tolist())


def _traffic(backend: str, folder: Path) -> dict[str, int]:
    parameters, gradients = _values(), _values()
    spec = {
        "argv": [sys.executable, str(HERE / "canary.py"), backend, parameters.hex(), gradients.hex()],
        "cwd": str(folder),
        "env": dict(os.environ),
        "needles": {"OBJECT": f"object {parameters.hex()}"},
        "keys": {"PARAMETERS": parameters.hex(), "GRADIENTS": gradients.hex()},
        "mounts": [],
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    done = subprocess.run(
        [sys.executable, str(WATCH), str(folder / "spec.json")], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["exit_code"] == 0, found["output"]
    return found["hits"].get("traffic", {})


def test_plain_gloo_shows_everything(tmp_path):
    """The control: whoever listens reads the model, the gradients and objects."""
    found = _traffic("gloo", tmp_path)
    assert found.keys() == {"PARAMETERS", "GRADIENTS", "OBJECT"}
    assert found["PARAMETERS"] > 1000
    assert found["GRADIENTS"] > 1000


def test_sealed_collectives_show_nothing(tmp_path):
    assert _traffic("confide", tmp_path) == {}
