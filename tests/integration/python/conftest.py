"""The Python profile in a real enclave; only the broker is replaced, by a file and a fake that commits."""

from __future__ import annotations

import base64
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from confide.broker.release import Grant, Release, ReleasedKey
from confide.data.listing import Listing
from confide.enclave.build import Recipe, build_image
from confide.enclave.image import Limits
from confide.enclave.profile import ImageProfile
from confide.enclave.run import RunRequest, run
from confide.keys.material import Keyset

# In the agent's place: the agent itself, with a release from a file instead of one from a broker.
ENTRY = """
import json, sys
from pathlib import Path
from confide.broker.release import Release
from confide.data.listing import Listing
from confide.enclave import agent
from confide.python.profile import PythonProfile

release = Release.model_validate_json(Path("/work/release.json").read_bytes())

class FakeSession:
    def commit_listing(self, location, table, base_serial, files):
        grant = next(g for g in release.grants if g.location == location and g.access == "write")
        listing = Listing(table=table, owner=grant.owner, location=location, format=grant.format,
                          serial=base_serial + 1, key=grant.key, columns=grant.columns, files=tuple(files))
        Path("/work/commits", location.replace("/", "_")).write_bytes(listing.canonical())
        return listing, {"payload": "", "protected": "", "signature": ""}

attested = agent.Attested({"fake": FakeSession()}, {"fake": release}, release, mesh=None)
agent._attest = lambda image, boot, parameters, control: attested
agent.main(PythonProfile())
"""


@dataclass
class Study:
    """Data at rest, a release for it, and programs to run on it."""

    root: Path
    cache: Path
    keys: dict[str, bytes] = field(default_factory=dict)
    grants: list[Grant] = field(default_factory=list)
    logs: str | None = None
    said: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def data(self) -> Path:
        return self.root / "data"

    def keyset(self, *names: str) -> Keyset:
        return self.release(names or tuple(self.keys)).keyset()

    def release(self, names: Sequence[str] | None = None) -> Release:
        released = {
            name: ReleasedKey(current=1, versions={"1": base64.b64encode(secret).decode()})
            for name, secret in self.keys.items()
            if names is None or name in names
        }
        return Release(
            workload="study",
            owners=("clinic",),
            keys=released,
            grants=tuple(self.grants),
            logs=self.logs,
            expires=2**40,
        )

    def grant(self, location: str, access: str, kind: str, key: str, **more: Any) -> None:
        self.grants.append(
            Grant(owner="clinic", location=location, access=access, format=kind, key=key, **more)
        )

    def run(self, program: str, released: Sequence[str] | None = None, **recipe: Any) -> int:
        on_status = recipe.pop("on_status", self.said.append)
        (self.root / "job.py").write_text(program)
        (self.root / "entry.py").write_text(ENTRY)
        (self.data / "commits").mkdir(exist_ok=True)
        (self.data / "release.json").write_text(self.release(released).model_dump_json())
        profile = ImageProfile(
            "python",
            "entry",
            files={"opt/confide/site/entry.py": self.root / "entry.py"},
            limits=Limits(memory_mib=512, scratch_mib=64),
            streams=True,
        )
        made = Recipe(self.root / "job.py", profile, "study", {"fake": "PEM"}, **recipe)
        folder = self.root / f"image-{secrets.token_hex(4)}"
        build_image(made, folder, self.cache)
        brokers = {"fake": "https://127.0.0.1:1"}
        request = RunRequest(folder, "simulated", self.root / "home", brokers, self.data)
        return run(request, on_status)

    def committed(self, location: str) -> Listing:
        return Listing.from_json((self.data / "commits" / location.replace("/", "_")).read_bytes())

    def mentions(self, text: str) -> bool:
        """Whether a byte of `text` lies anywhere on storage."""
        found = subprocess.run(["grep", "-rqaF", text, str(self.data)], check=False)
        return found.returncode == 0


@pytest.fixture(scope="session")
def cache(pytestconfig: pytest.Config) -> Path:
    """Layers are kept between test runs: their key tells whether anything in them changed."""
    assert pytestconfig.cache is not None
    return pytestconfig.cache.mkdir("confide")


@pytest.fixture
def study(tmp_path: Path, cache: Path) -> Study:
    for name in ("data", "home"):
        (tmp_path / name).mkdir()
    keys = {
        f"clinic/{name}": secrets.token_bytes(32) for name in ("patients", "identifiers", "results", "logs")
    }
    return Study(tmp_path, cache, keys)
