"""With a driver and two executors nothing is left anywhere; on a plain cluster of as many, everywhere."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pyspark
import pytest

from confide.jvm.jar import spark_jars

from .test_canary import DONE, KINDS_OF_FILES, confined_run, needles, plain_run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.spark,
    pytest.mark.canary,
    pytest.mark.skipif(os.geteuid() != 0, reason="packet capture and fanotify need root"),
]

__all__ = ["needles"]

CLUSTER = (
    "spark.master=local-cluster[2,1,1024]",  # a master, two workers, and executors in processes of their own
    "spark.shuffle.readHostLocalDisk=false",  # so that they fetch from one another, as they would between machines
)


SCALA = """
package example
class Shout extends org.apache.spark.sql.api.java.UDF1[String, String] { def call(text: String): String = text + "!" }
"""
UI = 4440
"""In a network of the run's own."""


@pytest.fixture(scope="module")
def jar(tmp_path_factory) -> Path:
    """A function in Scala, compiled by the compiler that Spark brings."""
    folder = tmp_path_factory.mktemp("scala")
    (folder / "Shout.scala").write_text(SCALA)
    spark = os.pathsep.join(map(str, spark_jars()))
    compiler = ["java", "-cp", spark, "scala.tools.nsc.Main", "-cp", spark, "-d", "shout.jar", "Shout.scala"]
    subprocess.run(compiler, cwd=folder, check=True)
    return folder / "shout.jar"


@pytest.fixture(scope="module")
def control(tmp_path_factory, needles, jar) -> dict:
    folder = tmp_path_factory.mktemp("control")
    home = folder / "spark"  # executors' logs lie below it
    home.mkdir()
    for part in Path(pyspark.__file__).parent.iterdir():
        (home / part.name).symlink_to(part)
    environment = {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    return plain_run(folder, needles, (*CLUSTER, f"spark.jars={jar}"), environment, ["--scala"])


@pytest.fixture(scope="module")
def confined(tmp_path_factory, needles, jar) -> dict:
    program = ["--jars", str(jar), "--arg=--scala"]
    workers = ["--workers", "2", "--worker-cores", "1"]
    folders = tmp_path_factory.mktemp("confined"), tmp_path_factory.mktemp("owner")
    return confined_run(
        *folders,
        needles,
        allow=[*program, "--workers", "--requests", "clinic/patients"],
        run=[*program, *workers, "--ui", f"127.0.0.1:{UI}"],
        more=["--scala"],
    )


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


@pytest.mark.parametrize("kind", [*KINDS_OF_FILES, "spark/work"])
def test_the_control_leaks_into_every_kind_of_file(control, kind):
    assert any(kind in path for path in control["where"]["files"]), control["where"]["files"]


def test_both_did_the_same_work(control, confined):
    assert control["exit_code"] == confined["exit_code"] == 1
    assert all(f"executor {number} runs" in confined["output"] for number in (1, 2)), confined["output"]
    for line in (*DONE, "scala !"):
        assert line in control["output"], control["output"][-3000:]
        assert line in confined["logs"], confined["output"] + confined["logs"]


def test_the_pages_were_asked_for_in_both(control, confined):
    assert control["pages"] > 0
    assert UI in confined["ports"]


def test_the_data_crossed_the_network_in_both(control, confined, needles):
    data = 20_000 * len(needles["DATA"])
    assert min(control["captured"], confined["captured"]) > data, (control["searched"], confined["searched"])


@pytest.mark.parametrize("place", ["files", "traffic", "interface", "output", "cmdline", "environ"])
def test_the_confined_job_leaves_nothing(confined, place):
    print(f"searched {confined['searched']}")
    assert confined["hits"].get(place, {}) == {}, confined["where"].get(place)
