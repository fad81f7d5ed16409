from __future__ import annotations

import pytest
from pyspark import RDD, RDDBarrier

from confide.errors import LaunchRefused
from confide.spark import collectives


class Parts(RDD):
    """An RDD of so many parts, without a context."""

    def __init__(self, count):
        self._count = count

    def getNumPartitions(self):
        return self._count


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    monkeypatch.setattr(RDD, "barrier", RDD.barrier)  # put back afterwards
    collectives.install()


def barrier(module: str, parts: int) -> object:
    """Call it as a function of that module does."""
    place = {"__name__": module}
    exec("def ask(rdd): return rdd.barrier()", place)
    return place["ask"](Parts(parts))


@pytest.mark.parametrize("module", ["xgboost", "xgboost.spark.core"])
def test_workers_that_speak_in_clear_are_refused(module):
    with pytest.raises(LaunchRefused, match="num_workers=1"):
        barrier(module, 2)


@pytest.mark.parametrize(("module", "parts"), [("xgboost.spark.core", 1), ("__main__", 2), ("xgboosted", 2)])
def test_others_are_not(module, parts):
    assert isinstance(barrier(module, parts), RDDBarrier)
