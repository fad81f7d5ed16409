import zipfile

import pytest

from confide.errors import MissingDependency
from confide.spark import jar

pytestmark = pytest.mark.spark


def test_built_once_and_the_same_again(tmp_path):
    first = jar.build_jar(tmp_path / "a")
    stamp = first.stat().st_mtime_ns
    assert jar.build_jar(tmp_path / "a") == first
    assert first.stat().st_mtime_ns == stamp
    second = jar.build_jar(tmp_path / "b")
    assert second.name == first.name
    assert second.read_bytes() == first.read_bytes()
    with zipfile.ZipFile(first) as opened:
        names = opened.namelist()
    assert "confide/GuardFileSystem.class" in names
    assert names == sorted(names)
    assert [path.name for path in (tmp_path / "a").iterdir()] == [first.name]


def test_other_sources_another_name(tmp_path, monkeypatch):
    source = tmp_path / "A.java"
    source.write_text("class A {}")
    monkeypatch.setattr(jar, "java_sources", lambda: [source])
    first = jar.build_jar(tmp_path / "cache")
    source.write_text("class A { int a; }")
    assert jar.build_jar(tmp_path / "cache") != first


def test_sources_that_do_not_compile(tmp_path, monkeypatch):
    source = tmp_path / "A.java"
    source.write_text("class A {")
    monkeypatch.setattr(jar, "java_sources", lambda: [source])
    with pytest.raises(MissingDependency, match="reached end of file"):
        jar.build_jar(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(MissingDependency, match="javac"):
        jar.build_jar(tmp_path / "cache")
