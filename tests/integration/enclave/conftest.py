"""Images with a probe in the agent's place, run by the real launcher."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from confide.enclave.build import Recipe, build_image
from confide.enclave.image import Image, Limits
from confide.enclave.profile import ImageProfile
from confide.enclave.run import RunRequest, run

# Stands where the agent stands: runs the program as the enclave's first process, with a line to the runner.
PROBE = """
import json, runpy, socket, sys
boot = json.load(sys.stdin)
control = socket.socket(fileno=boot["control"])
def say(**status):
    control.sendall(json.dumps(status).encode() + b"\\n")
runpy.run_path("/app/job.py", {"say": say, "boot": boot, "control": control})
say(state="finished", exit_code=0)
"""


@dataclass
class Enclave:
    """A built image, and how to run it."""

    folder: Path
    image: Image
    home: Path
    data: Path
    said: list[Mapping[str, Any]] = field(default_factory=list)

    def request(self, **changes: Any) -> RunRequest:
        settings = {
            "image": self.folder,
            "tee": "simulated",
            "home": self.home,
            "brokers": {"local": "https://127.0.0.1:1"},
            "data_root": self.data,
        }
        return RunRequest(**{**settings, **changes})

    def run(self, **changes: Any) -> int:
        return run(self.request(**changes), self.said.append)

    def told(self, name: str) -> Any:
        return next(status[name] for status in self.said if name in status)


@pytest.fixture(scope="session")
def cache(pytestconfig: pytest.Config) -> Path:
    """Layers are kept between test runs: their key tells whether anything in them changed."""
    assert pytestconfig.cache is not None
    return pytestconfig.cache.mkdir("confide")


@pytest.fixture
def probe(cache: Path, tmp_path: Path) -> Callable[..., Enclave]:
    """Build an image whose first process runs `program`, which may `say(**status)`."""

    def make(program: str, **recipe: Any) -> Enclave:
        for name in ("app", "home", "data"):
            (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / "app" / "job.py").write_text(program)
        (tmp_path / "probe.py").write_text(PROBE)
        profile = ImageProfile(
            "python",
            "probe",
            distributions=(),
            files={"opt/confide/site/probe.py": tmp_path / "probe.py"},
            limits=Limits(memory_mib=256, scratch_mib=2),
        )
        made = Recipe(tmp_path / "app" / "job.py", profile, "probe", {"local": "PEM"}, **recipe)
        folder = tmp_path / f"image-{secrets.token_hex(4)}"
        image = build_image(made, folder, cache)
        return Enclave(folder, image, tmp_path / "home", tmp_path / "data")

    return make
