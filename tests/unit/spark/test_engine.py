from pathlib import PurePosixPath

import pytest

from confide.errors import MissingDependency
from confide.spark import engine
from confide.spark.engine import ENGINES, SPARK, SPARK35, engine_of, require
from confide.spark.settings import settings


@pytest.mark.parametrize(("version", "found"), [("4.3.0", SPARK), ("4.3.12", SPARK), ("3.5.9", SPARK35)])
def test_a_version_has_its_engine(version, found):
    assert engine_of(version) is found


@pytest.mark.parametrize("version", ["4.2.1", "4.30.0", "3.4.4", "3.50.1", "5.0.0", ""])
def test_a_version_without_a_profile_is_refused(version):
    with pytest.raises(MissingDependency, match=r"profiles for pyspark 4\.3 and 3\.5, and here is"):
        engine_of(version)


@pytest.mark.parametrize("wanted", ENGINES.values(), ids=ENGINES)
def test_another_engine_than_the_installed_one_is_refused_with_both_ways_out(monkeypatch, wanted):
    other = SPARK if wanted is SPARK35 else SPARK35
    monkeypatch.setattr(engine, "installed", lambda: other)
    said = rf"pip install 'confide\[{wanted.extra}\]' in an environment of its own, or give --profile {other.profile}$"
    with pytest.raises(MissingDependency, match=said):
        require(wanted)


def test_a_python_that_it_does_not_run_on_is_refused(monkeypatch):
    monkeypatch.setattr(engine, "installed", lambda: SPARK35)
    monkeypatch.setattr(engine.sys, "version_info", (3, 12, 0))
    with pytest.raises(MissingDependency, match=r"Spark 3\.5 does not run on this version of Python"):
        require(SPARK35)


def test_the_settings_differ_in_the_sockets_that_it_lacks_alone():
    rows = [
        {row.name for row in settings(PurePosixPath("/s"), cores=1, engine=each).fixed}
        for each in (SPARK, SPARK35)
    ]
    assert rows[0] - rows[1] == {f"spark.python.unix.domain.socket.{name}" for name in ("enabled", "dir")}
    assert not rows[1] - rows[0]
