"""The same with a driver and two executors: nothing is left anywhere, and without `confide` it is everywhere."""

from __future__ import annotations

import os

import pytest

from .test_canary import confined_run, needles, plain_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.spark,
    pytest.mark.canary,
    pytest.mark.skipif(os.geteuid() != 0, reason="packet capture and fanotify need root"),
]

__all__ = ["needles"]

# Executors of one machine would else read each other's files, and nothing would cross the network.
CLUSTER = "--master local-cluster[2,1,1024] --conf spark.shuffle.readHostLocalDisk=false"
LINES = ("joined 20000", "checked 500", "local 2000", "grouped 50", "failed as it should", "the program ends")


@pytest.fixture(scope="module")
def control(tmp_path_factory, needles) -> dict:
    return plain_run(tmp_path_factory.mktemp("control"), needles, CLUSTER)


@pytest.fixture(scope="module")
def confined(tmp_path_factory, needles) -> dict:
    options = ["--workers", "2", "--worker-cores", "1"]
    folders = tmp_path_factory.mktemp("confined"), tmp_path_factory.mktemp("owner")
    return confined_run(*folders, needles, allow=["--workers"], run=options)


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("files", {"DATA", "PARALLEL", "LITERAL", "TOKEN", "FAILURE", "KEY"}),
        ("traffic", {"DATA", "PARALLEL", "LITERAL", "TOKEN", "FAILURE", "KEY"}),
        ("interface", {"LITERAL", "KEY"}),
        ("output", {"FAILURE"}),
        ("cmdline", {"KEY"}),
        ("environ", {"KEY", "PASSPHRASE"}),
    ],
)
def test_the_control_leaks(control, place, names):
    assert set(control["hits"].get(place, {})) >= names, control["searched"]


def test_both_did_the_same_work(control, confined):
    assert control["exit_code"] == confined["exit_code"] == 1
    assert all(f"executor {number} runs" in confined["output"] for number in (1, 2)), confined["output"]
    for line in LINES:
        assert line in control["output"], control["output"][-3000:]
        assert line in confined["logs"], confined["output"] + confined["logs"]


@pytest.mark.parametrize("place", ["files", "traffic", "interface", "output", "cmdline", "environ"])
def test_the_confined_job_leaves_nothing(confined, place):
    print(f"searched {confined['searched']}")
    assert confined["hits"].get(place, {}) == {}, confined["where"].get(place)
