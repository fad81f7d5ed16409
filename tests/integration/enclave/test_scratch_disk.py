"""Scratch space on disk: encrypted, and gone afterwards."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from confide.errors import MissingDependency

from .conftest import Enclave

Probe = Callable[..., Enclave]

needs_fuse = pytest.mark.skipif(
    shutil.which("gocryptfs") is None or shutil.which("fusermount") is None or not Path("/dev/fuse").exists(),
    reason="needs gocryptfs and fuse",
)


@needs_fuse
def test_what_is_written_is_never_in_clear_on_disk(probe: Probe, tmp_path: Path) -> None:
    disk, canary = tmp_path / "disk", secrets.token_hex(16)
    disk.mkdir()
    enclave = probe(
        f"open('/scratch/{canary}', 'w').write('{canary}' * 100000)\n"
        f"say(state='seen', back=len(open('/scratch/{canary}').read()))\n"
        "control.settimeout(20)\n"
        "control.recv(1)\n"
    )
    found: list[int] = []

    def look(status: object) -> None:
        if isinstance(status, dict) and status.get("state") == "seen":
            cipher = next(disk.iterdir()) / "cipher"
            assert sum(path.stat().st_size for path in cipher.iterdir()) > 3_000_000
            found.append(subprocess.run(["grep", "-rqF", canary, str(cipher)], check=False).returncode)
            raise KeyboardInterrupt

    from confide.enclave.run import run

    with pytest.raises(KeyboardInterrupt):
        run(enclave.request(scratch_disk=disk), look)
    assert found == [1]
    assert list(disk.iterdir()) == []


def test_missing_program_is_named(probe: Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    enclave = probe("")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependency, match="gocryptfs"):
        enclave.run(scratch_disk=tmp_path)
    with pytest.raises(MissingDependency, match="bwrap"):
        enclave.run()
