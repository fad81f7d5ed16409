"""With executors of Spark 3.5 in the driver's enclave nothing is left anywhere; by the plain program, everywhere."""

from __future__ import annotations

import os

import pytest

from confide.spark.engine import SPARK35, installed

from .test_canary import DONE, KINDS_OF_FILES, confined_run, needles, plain_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.spark,
    pytest.mark.canary,
    pytest.mark.skipif(os.geteuid() != 0, reason="packet capture and fanotify need root"),
    pytest.mark.skipif(installed() is not SPARK35, reason="Spark 3.5 has an environment of its own"),
]

__all__ = ["needles"]

CLUSTER = ("--conf", "spark.master=local-cluster[2,1,1024]")


@pytest.fixture(scope="module")
def control(tmp_path_factory, needles) -> dict:
    return plain_run(tmp_path_factory.mktemp("control"), needles)


@pytest.fixture(scope="module")
def confined(tmp_path_factory, needles) -> dict:
    folders = tmp_path_factory.mktemp("confined"), tmp_path_factory.mktemp("owner")
    return confined_run(*folders, needles, allow=CLUSTER, run=CLUSTER)


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("files", {"DATA", "PARALLEL", "LITERAL", "TOKEN", "FAILURE", "KEY"}),
        ("traffic", {"DATA", "PARALLEL", "LITERAL", "TOKEN", "FAILURE", "KEY"}),
        ("interface", {"LITERAL", "KEY"}),
        ("output", {"DATA", "FAILURE"}),
        ("cmdline", {"KEY"}),
        ("environ", {"KEY", "PASSPHRASE"}),
    ],
)
def test_the_control_leaks(control, place, names):
    assert set(control["hits"].get(place, {})) >= names, control["searched"]


@pytest.mark.parametrize("kind", KINDS_OF_FILES)
def test_the_control_leaks_into_every_kind_of_file(control, kind):
    assert any(kind in path for path in control["where"]["files"]), control["where"]["files"]


def test_both_did_the_same_work(control, confined):
    assert control["exit_code"] == confined["exit_code"] == 1
    for line in DONE:
        assert line in control["output"], control["output"][-3000:]
        assert line in confined["logs"], confined["output"] + confined["logs"]


def test_the_data_crossed_the_network_of_its_own(confined, needles):
    assert confined["captured_inside"] > 20_000 * len(needles["DATA"]), confined["searched"]


@pytest.mark.parametrize("place", ["files", "traffic", "interface", "output", "cmdline", "environ"])
def test_the_confined_job_leaves_nothing(confined, place):
    print(f"searched {confined['searched']}")
    assert confined["hits"].get(place, {}) == {}, confined["where"].get(place)
