from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

ABORT = "import os, sys; {before}; os.abort()"
PRIVATE = "from confide.keys.private_memory import keep_memory_private as keep; keep()"


def _unlimited() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def _dumps_core(folder: Path, before: str) -> bool:
    process = subprocess.Popen(
        [sys.executable, "-c", ABORT.format(before=before)], cwd=folder, preexec_fn=_unlimited
    )
    _, status = os.waitpid(process.pid, 0)
    process.returncode = 0  # reaped already
    return os.WCOREDUMP(status)


def test_no_core_is_dumped(tmp_path: Path) -> None:
    if not _dumps_core(tmp_path, "pass"):
        pytest.skip("this machine dumps no core anyway")
    assert not _dumps_core(tmp_path, PRIVATE)


def test_a_child_dumps_none_either(tmp_path: Path) -> None:
    if not _dumps_core(tmp_path, "pass"):
        pytest.skip("this machine dumps no core anyway")
    child = (
        "import subprocess; s = subprocess.run([sys.executable, '-c', 'import os; os.abort()']).returncode"
    )
    _dumps_core(tmp_path, f"{PRIVATE}; {child}")
    assert len(list(tmp_path.iterdir())) <= 1  # the one of the first line, where cores go into the folder


def test_memory_cannot_be_opened_by_the_same_user() -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every process")
    process = subprocess.Popen(
        [sys.executable, "-c", f"{PRIVATE}; print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(PermissionError):
        Path(f"/proc/{process.pid}/environ").read_bytes()
    process.communicate(b"\n")
