import os
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


def test_without_bubblewrap_there_is_none(tmp_path, java, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build_archive(tmp_path, Path(__file__), java, INSIDE) is None


def test_a_java_that_does_not_run_gives_none_and_leaves_nothing(tmp_path, java):
    cache = tmp_path / "cache"
    cache.mkdir()
    assert build_archive(cache, Path(__file__), java, INSIDE) is None
    assert not list(cache.iterdir())


def test_files_of_images_have_one_time(tmp_path):
    file = tmp_path / "a"
    file.touch()
    set_time(file)
    assert os.stat(file).st_mtime == 315_619_200
