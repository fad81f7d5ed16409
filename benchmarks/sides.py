"""The two sides of a Spark comparison: plain Spark, and `confide run` under the TEE `simulated`.

Both run the same unmodified program with the same master and the same Java heap; all else of the plain side is
Spark's default.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyspark

from benchmarks.measure import Comparison, interleave
from benchmarks.owner import Owner
from benchmarks.process import CommandFailed, Course, Usage, measure

MARK = "MEASURED "
PLAIN, CONFIDE = "plain", "confide"
DEFAULT_SETUP = {"master": "local[2]", "heap_mib": 2048}


@dataclass(frozen=True)
class SparkRun:
    """One run of a program: what the whole process tree used, and when, and what the program says it measured."""

    usage: Usage
    measured: Mapping[str, Any]
    course: Course


@dataclass(frozen=True)
class Cluster:
    """A driver, and executors of one core each in processes of their own.

    Attributes:
        executors: how many.
        spark_home: whose `work` Spark's own workers write.
        more: options of `confide run`, as the policy has them.
    """

    executors: int
    spark_home: Path
    more: tuple[str, ...] = ()

    def plain_options(self, heap_mib: int) -> str:
        """Return those of Spark: a master and workers that it starts itself; executors share no disk."""
        return (
            f"--master local-cluster[{self.executors},1,{heap_mib}] --executor-memory {heap_mib}m "
            "--conf spark.shuffle.readHostLocalDisk=false"
        )

    def confide_options(self) -> tuple[str, ...]:
        """Return those of `confide run`."""
        return ("--workers", str(self.executors), "--worker-cores", "1", *self.more)


@dataclass(frozen=True)
class Sides:
    """One program on both sides.

    Attributes:
        program: the PySpark program; it prints one line, `MEASURED` and JSON.
        plain_folder: working folder of the plain side.
        owner: whose encrypted tables lie in the working folder of the other side; None: plain side only.
        cluster: on either side; None: local mode.
    """

    program: Path
    plain_folder: Path
    owner: Owner | None
    cluster: Cluster | None = None

    def run(self, runs: int) -> dict[str, list[SparkRun]]:
        """Run both sides in turn, `confide` first: its runs tell cores and heap to those of the plain side."""
        if not self.owner:
            return interleave(runs, {PLAIN: lambda: self.plain(DEFAULT_SETUP)})
        setup: dict[str, Any] = {}

        def confide() -> SparkRun:
            done = self.confide()
            setup.update(done.measured["setup"])
            return done

        return interleave(runs, {CONFIDE: confide, PLAIN: lambda: self.plain(setup)})

    def plain(self, setup: Mapping[str, Any]) -> SparkRun:
        """Run with `python`, given the other side's master and heap."""
        master = (
            self.cluster.plain_options(setup["heap_mib"]) if self.cluster else f"--master {setup['master']}"
        )
        options = f"{master} --driver-memory {setup['heap_mib']}m pyspark-shell"
        env = {"PYSPARK_SUBMIT_ARGS": options, "PYSPARK_PYTHON": sys.executable}
        if self.cluster:
            env |= {"SPARK_HOME": str(self.cluster.spark_home), "SPARK_LOCAL_IP": "127.0.0.1"}
        sample = self.cluster is not None
        done = measure([sys.executable, self.program], cwd=self.plain_folder, env=env, sample=sample)
        return SparkRun(done.usage, measured_in(done.output), done.course)

    def confide(self) -> SparkRun:
        """Run with `confide run`; what the program printed comes from its sealed output."""
        assert self.owner is not None
        options = self.cluster.confide_options() if self.cluster else ()
        sample = self.cluster is not None
        done = self.owner.confide("run", "--tee", "simulated", *options, self.program, sample=sample)
        return SparkRun(done.usage, measured_in(self.owner.confide("logs").output), done.course)


def compare(results: Mapping[str, Sequence[SparkRun]], value: Callable[[SparkRun], float]) -> Comparison:
    """Return the comparison of one value of every run."""
    plain, confide = (tuple(value(run) for run in results[side]) for side in (PLAIN, CONFIDE))
    return Comparison(plain, confide)


def raw(results: Mapping[str, Sequence[SparkRun]]) -> dict[str, Any]:
    """Return every run as JSON values."""
    return {
        side: [{"usage": vars(run.usage), **run.measured} for run in runs] for side, runs in results.items()
    }


def spark_home(folder: Path) -> Path:
    """Make a home of Spark whose workers write below it, and not into the installed one."""
    folder.mkdir()
    for part in Path(pyspark.__file__).parent.iterdir():
        (folder / part.name).symlink_to(part)
    return folder


def measured_in(output: str) -> dict[str, Any]:
    """Return what a program says that it measured.

    Raises:
        CommandFailed: it says nothing.
    """
    lines = [line for line in output.splitlines() if MARK in line]
    if not lines:
        raise CommandFailed(f"the program printed no line with {MARK.strip()}:\n{output[-2000:]}")
    value: dict[str, Any] = json.loads(lines[-1].partition(MARK)[2])
    return value
