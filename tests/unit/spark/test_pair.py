"""A JVM and its driver, each in the place of a shell."""

import subprocess
import sys

import pytest

from confide.spark.pair import command


def run(jvm, driver):
    argv = command(sys.executable, ["/bin/sh", "-c", jvm], ["/bin/sh", "-c", driver])
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_driver_reads_the_port_and_the_jvm_ends_after_it():
    done = run("echo 4711; cat >/dev/null; echo stopped >&2", "read port; echo driver $port")
    assert (done.returncode, done.stdout, done.stderr) == (0, "driver 4711\n", "stopped\n")


@pytest.mark.parametrize(("end", "code"), [("exit 7", 7), ("kill -9 $$", -9), ("kill -15 $$", -15)])
def test_it_ends_as_the_driver_does(end, code):
    assert run("cat >/dev/null", end).returncode == code


def test_a_jvm_that_ends_leaves_the_driver_an_empty_line():
    done = run("exit 1", "read port || echo none")
    assert done.stdout == "none\n"
