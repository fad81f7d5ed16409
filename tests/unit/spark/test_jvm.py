import shutil
import subprocess
from pathlib import Path, PurePosixPath

import pyspark
import pytest

from confide.jvm.enclave import enclave_options
from confide.spark import jvm
from confide.spark.engine import SPARK, installed


def command(**changes):
    given = {
        "java": PurePosixPath("/opt/confide/java/bin/java"),
        "class_path": "/our.jar:/jars/a.jar",
        "archive": None,
        "log_config": PurePosixPath("/log4j2.properties"),
        "scratch": PurePosixPath("/scratch"),
        "heap_mib": 512,
        "main": ("confide.spark.Gateway",),
    }
    return jvm.command(**{**given, **changes})


def test_ends_with_class_path_and_class():
    assert command()[-3:] == ["-cp", "/our.jar:/jars/a.jar", "confide.spark.Gateway"]


def test_the_jvms_own_messages_do_not_come_before_the_port():
    made = command()
    assert "-XX:+DisplayVMOutputToStderr" in made
    assert made.index("-Xlog:disable") < made.index("-Xlog:all=warning:stderr")


def test_only_an_enclave_bounds_the_jvms_own_memory():
    assert not any("Metaspace" in option or "noNative" in option for option in command())
    assert set(enclave_options(512, 2, True)) < set(command(enclave_cores=2))


def test_how_a_jvm_starts_processes():
    assert "-Djdk.lang.Process.launchMechanism=vfork" in enclave_options(512, 2, False)
    assert "-Djdk.lang.Process.launchMechanism=posix_spawn" in enclave_options(512, 2, True)


@pytest.mark.parametrize(
    "flag", ["-XX:+DisableAttachMechanism", "-XX:-UsePerfData", "-XX:-CreateCoredumpOnCrash", "-Xmx512m"]
)
def test_flags(flag):
    assert flag in command()


def test_class_path_does_not_depend_on_the_folders_order():
    jars = [PurePosixPath("/jars/b.jar"), PurePosixPath("/jars/a.jar")]
    assert jvm.class_path(PurePosixPath("/z.jar"), jars) == "/z.jar:/jars/a.jar:/jars/b.jar"


def test_archive():
    assert not any("SharedArchiveFile" in part for part in command())
    assert "-XX:SharedArchiveFile=/classes.jsa" in command(archive=PurePosixPath("/classes.jsa"))


def test_every_path_that_java_writes_is_below_the_scratch():
    written = [
        part for part in command() if part.startswith(("-XX:ErrorFile", "-Djava.io.tmpdir", "-Dderby"))
    ]
    assert len(written) == 3
    assert all("=/scratch/" in part for part in written)


@pytest.mark.skipif(shutil.which("javap") is None, reason="no JDK")
def test_module_options_are_those_of_this_spark():
    (jar,) = (Path(pyspark.__file__).parent / "jars").glob("spark-launcher_*.jar")
    shown = subprocess.run(
        ["javap", "-c", "-p", "-cp", str(jar), "org.apache.spark.launcher.JavaModuleOptions"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    strings = [line.partition("// String ")[2] for line in shown.splitlines() if "// String -" in line]
    ours = {*jvm.MODULE_OPTIONS, *installed().jvm_options}
    assert ours >= set(strings)
    assert installed() is not SPARK or ours == set(strings)
