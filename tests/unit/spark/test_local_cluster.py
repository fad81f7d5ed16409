"""Executors beside the driver: what an image asks for, how its memory is shared out, and which settings hold."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

import pytest

from confide.errors import LaunchRefused, Misuse
from confide.spark.engine import SPARK, SPARK35
from confide.spark.image_spec import check_settings
from confide.spark.local_cluster import LocalCluster
from confide.spark.settings import settings

ASKED = {"spark.master": "local-cluster[2,1,1024]"}
CLUSTER = LocalCluster.of(ASKED)
TABLE = settings(PurePosixPath("/scratch"), cores=2, engine=SPARK35, cluster=CLUSTER, own=ASKED)
LOCAL = settings(PurePosixPath("/scratch"), cores=2, engine=SPARK35)
FIXED = {row.name: row for row in TABLE.fixed}


@pytest.mark.parametrize("text", ["local-cluster[3,2,1024]", "local-cluster[ 3 , 2, 1024 ]"])
def test_as_spark_spells_it(text):
    found = LocalCluster.of({"spark.master": text})
    assert (found.executors, found.cores, found.memory_mib) == (3, 2, 1024)


@pytest.mark.parametrize("own", [{}, {"spark.master": "local[2]"}, {"spark.master": "spark://h:7077"}])
def test_another_master_asks_for_none(own):
    assert LocalCluster.of(own) is None


@pytest.mark.parametrize(
    "text",
    [
        "local-cluster",
        "local-cluster[2,1]",
        "local-cluster[0,1,1024]",
        "local-cluster[2,0,1024]",
        "local-cluster[2,1,0]",
        "local-cluster[2,1,-1]",
        "local-cluster[2,1,1g]",
        "local-cluster[2,1,1024]\n",
        "local-cluster[2,1,1024,1]",
        "local-cluster[99999,1,1024]",
    ],
)
def test_what_is_spelled_otherwise_is_refused(text):
    with pytest.raises(Misuse, match=r"write local-cluster\[N,CORES,MIB\]"):
        check_settings({"spark.master": text}, engine=SPARK35)


def test_heaps_fit():
    assert CLUSTER.driver_mib(4096) == 4096 - 2 * (1024 + 384)
    assert LocalCluster(2, 1, 10_000).driver_mib(24_000) == 24_000 - 2 * 11_000
    assert CLUSTER.driver_mib(2 * 1408 + 768) == 768
    with pytest.raises(LaunchRefused, match=r"does not fit into 3583 MiB: .* --memory 3584m"):
        CLUSTER.driver_mib(2 * 1408 + 767)


def test_an_image_whose_memory_is_too_small_is_not_built():
    check_settings(ASKED, engine=SPARK35)
    check_settings(ASKED, engine=SPARK35, memory_mib=3584)
    with pytest.raises(LaunchRefused, match="does not fit"):
        check_settings(ASKED, engine=SPARK35, memory_mib=3583)


def test_spark_4_has_none():
    with pytest.raises(LaunchRefused, match=r"^spark.master=local-cluster"):
        check_settings(ASKED, engine=SPARK)


def test_every_name_stands_once():
    names = [row.name for row in (*TABLE.fixed, *TABLE.default)]
    assert len(names) == len(set(names))


def test_all_that_is_fixed_in_local_mode_is_fixed_here_with_the_same_value():
    missing = [row for row in LOCAL.fixed if row.name != "spark.master" and FIXED.get(row.name) != row]
    assert missing == []


@pytest.mark.parametrize("row", TABLE.fixed, ids=lambda row: row.name)
def test_own_value_passes_and_another_does_not(row):
    assert re.fullmatch(row.pattern, row.value)
    if row.accepts is None:
        for other in ("", row.value + "x", "x" + row.value, row.value + "\n"):
            assert not re.fullmatch(row.pattern, other)


@pytest.mark.parametrize(
    "master",
    [
        "local-cluster[2,1,1024]",
        "spark-local-cluster[3,1,1024]",
        "spark-local-cluster[2,1,10240]",
        "confide://2",
    ],
)
def test_a_program_s_own_cluster_is_refused(master):
    assert not re.fullmatch(FIXED["spark.master"].pattern, master)


@pytest.mark.parametrize("name", ["spark.executor.memory", "spark.executor.cores", "spark.cores.max"])
def test_executors_are_not_larger_than_was_asked_for(name):
    with pytest.raises(
        LaunchRefused, match=f"^{name}=4g would weaken the protection: more memory or processors"
    ):
        check_settings({**ASKED, name: "4g"}, engine=SPARK35)
    check_settings({name: "4"}, engine=SPARK35)  # in local mode it says nothing


def test_the_master_is_the_image_s():
    values = TABLE.values()
    assert values["spark.master"] == "spark-local-cluster[2,1,1024]"
    assert (values["spark.executor.cores"], values["spark.cores.max"]) == ("1", "2")
    assert values["spark.executor.memory"] == "1024m"


def test_members_know_one_another_by_a_secret_of_the_run():
    (secret,) = TABLE.credentials.values()
    assert len(bytes.fromhex(secret)) == 32
    assert LocalCluster.of(ASKED).secret != secret
    assert secret not in repr(CLUSTER)
    assert secret not in repr(TABLE)
    assert secret not in TABLE.values().values()
