import os
import subprocess
from pathlib import Path, PurePosixPath

import pytest

from confide.enclave.layers import set_time
from confide.spark.archive import build_archive

INSIDE = PurePosixPath("/opt/confide/spark/confide.jar")


@pytest.fixture
def java(tmp_path):
    home = tmp_path / "java"
    (home / "lib/server").mkdir(parents=True)
    for name in ("release", "lib/modules", "lib/server/libjvm.so"):
        (home / name).write_text(name)
    return home


def script(home, text):
    (home / "bin").mkdir(exist_ok=True)
    (home / "bin/java").write_text(f"#!/bin/sh\n{text}\n")
    (home / "bin/java").chmod(0o755)


def test_without_bubblewrap_there_is_none(tmp_path, java, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build_archive(tmp_path, Path(__file__), java, INSIDE) is None


def test_a_java_that_does_not_run_gives_none_now_and_later(tmp_path, java):
    cache = tmp_path / "cache"
    cache.mkdir()
    assert build_archive(cache, Path(__file__), java, INSIDE) is None
    (kept,) = cache.iterdir()
    assert kept.suffix == ".failed"
    assert kept.read_text().startswith("exit code ")

    script(java, "exit 3")  # whatever Java does now: images built before must stay what they are
    assert build_archive(cache, Path(__file__), java, INSIDE) is None
    assert [*cache.iterdir()] == [kept]


def test_one_crash_is_tried_again(tmp_path, java, monkeypatch):
    cache = tmp_path / "cache"
    cache.mkdir()
    script(java, "echo recorded > /opt/confide/out/classes.jsa")
    run, crashes = subprocess.run, [subprocess.CompletedProcess([], 134, b"# SIGSEGV", b"")]
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: crashes.pop() if crashes else run(*a, **k))
    recorded = build_archive(cache, Path(__file__), java, INSIDE)
    assert [*cache.iterdir()] == [recorded]
    assert recorded.read_text() == "recorded\n"


def test_files_of_images_have_one_time(tmp_path):
    file = tmp_path / "a"
    file.touch()
    set_time(file)
    assert os.stat(file).st_mtime == 315_619_200
