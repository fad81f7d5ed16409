import zipfile

import pytest

from confide.errors import MissingDependency
from confide.jvm import jar
from confide.spark.image_spec import spark_jar

pytestmark = [pytest.mark.spark, pytest.mark.exhaustive]


def test_built_once_and_the_same_again(tmp_path):
    first = spark_jar(tmp_path / "a")
    stamp = first.stat().st_mtime_ns
    assert spark_jar(tmp_path / "a") == first
    assert first.stat().st_mtime_ns == stamp
    second = spark_jar(tmp_path / "b")
    assert second.name == first.name
    assert second.read_bytes() == first.read_bytes()
    with zipfile.ZipFile(first) as opened:
        names = opened.namelist()
    assert "confide/GuardFileSystem.class" in names
    assert "core-site.xml" in names
    assert names == sorted(names)
    assert [path.name for path in (tmp_path / "a").iterdir()] == [first.name]


def test_other_sources_another_name(tmp_path):
    source = tmp_path / "A.java"
    source.write_text("class A {}")
    first = jar.build_jar(tmp_path / "cache", "Spark", [source], [])
    source.write_text("class A { int a; }")
    assert jar.build_jar(tmp_path / "cache", "Spark", [source], []) != first


def test_sources_that_do_not_compile(tmp_path):
    source = tmp_path / "A.java"
    source.write_text("class A {")
    with pytest.raises(MissingDependency, match="reached end of file"):
        jar.build_jar(tmp_path / "cache", "Spark", [source], [])
    assert list((tmp_path / "cache").iterdir()) == []


def test_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(MissingDependency, match="javac"):
        spark_jar(tmp_path / "cache")


def test_services_are_listed_and_name_the_jar(tmp_path):
    source = tmp_path / "A.java"
    source.write_text("class A implements Runnable { public void run() {} }")
    plain = jar.build_jar(tmp_path / "cache", "Flink", [source], [])
    made = jar.build_jar(tmp_path / "cache", "Flink", [source], [], {"java.lang.Runnable": "A\n"})
    assert made != plain
    with zipfile.ZipFile(made) as opened:
        assert opened.read("META-INF/services/java.lang.Runnable") == b"A\n"


def test_other_files_name_the_jar(tmp_path):
    source = tmp_path / "A.java"
    source.write_text("class A {}")
    made = [jar.build_jar(tmp_path / "cache", "Spark", [source], [], {}, {"a.xml": text}) for text in "xy"]
    assert made[0] != made[1]
    with zipfile.ZipFile(made[1]) as opened:
        assert opened.read("a.xml") == b"y"


def test_what_belongs_to_another_engine_is_left_out():
    names = {
        path.name
        for path in jar.java_sources(
            "spark43", without=("spark/", "ListedCommit.java", "CommitProtocol.java")
        )
    }
    assert "GuardFileSystem.java" in names
    assert not names & {"SessionHardening.java", "CommitProtocol.java"}
