"""The Spark profile: one JVM and one Python driver in one enclave, and what joins them."""

from __future__ import annotations

import datetime
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from confide.enclave.profile import Context
from confide.jvm.certificates import gateway_secrets
from confide.jvm.command import heap_mib
from confide.spark import jvm
from confide.spark.settings import settings
from confide.spark.worker import write_launcher

FOLDERS = ("tmp", "sockets", "local", "hadoop", "warehouse", "derby")
STOP_SECONDS = 30.0
"""How long the JVM may take to stop its context once the driver is gone."""


@dataclass(frozen=True)
class Installation:
    """Where the parts lie inside the enclave.

    Attributes:
        java: the `java` program.
        python: the interpreter.
        jars: Spark's jars.
        jar: our jar.
        log_config: log4j2's configuration.
        archive: of classes; need not exist.
    """

    java: Path
    python: Path
    jars: Path
    jar: Path
    log_config: Path
    archive: Path | None = None


@dataclass(frozen=True)
class SparkProfile:
    """Runs a PySpark program (`confide.enclave.profile.Profile`).

    Attributes:
        installation: where the parts lie.
        sandbox: returns what to put before the argv of a Python process, which runs the user's code; the
            argument says whether that may reach the agent's socket.
    """

    installation: Installation
    sandbox: Callable[[bool], Sequence[str]]

    def run(self, context: Context) -> int:
        """Run the program to its end and return its exit code."""
        scratch = context.scratch
        for name in FOLDERS:
            (scratch / name).mkdir(mode=0o700)
        launcher = scratch / "worker-python"
        write_launcher(launcher, self.installation.python, self.sandbox(False))
        table = settings(PurePosixPath(scratch), cores=_cores(context))
        gateway, driver = gateway_secrets(datetime.datetime.now(datetime.UTC))
        gateway |= {"properties": table.values(), "settings": table.rules()}
        context.secrets.update(gateway=gateway, driver=driver)

        port_in, port_out = os.pipe()
        environment = {
            **os.environ,
            **context.image.env,
            "CONFIDE_AGENT": str(context.socket),
            "HOME": str(scratch),
            "TMPDIR": str(scratch / "tmp"),
            "SPARK_LOCAL_DIRS": str(scratch / "local"),  # goes before spark.local.dir
        }
        # The JVM first: it starts while Python imports; neither has to fork the other.
        java = subprocess.Popen(
            self._java(context, f"/proc/self/fd/{port_out}"),
            stdin=subprocess.PIPE,
            stdout=context.output,
            stderr=context.output,
            cwd=scratch,
            env=environment,
            pass_fds=(port_out,),
        )
        os.close(port_out)
        python = subprocess.Popen(
            [
                *self.sandbox(True),
                str(self.installation.python),
                "-BPm",
                "confide.spark.driver",
                str(port_in),
                context.image.program,
                *context.arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=context.output,
            stderr=context.output,
            cwd=context.work,
            env={**environment, "PYSPARK_PYTHON": str(launcher)},
            pass_fds=(port_in,),
        )
        os.close(port_in)
        context.started()
        try:
            return python.wait()
        finally:
            _stop(java)

    def _java(self, context: Context, port_file: str) -> list[str]:
        jars = self.installation.jars.glob("*.jar")
        archive = self.installation.archive
        return jvm.command(
            java=PurePosixPath(self.installation.java),
            class_path=jvm.class_path(PurePosixPath(self.installation.jar), map(PurePosixPath, jars)),
            archive=PurePosixPath(archive) if archive and archive.exists() else None,
            log_config=PurePosixPath(self.installation.log_config),
            scratch=PurePosixPath(context.scratch),
            heap_mib=heap_mib(context.image.limits.memory_mib),
            port_file=port_file,
        )


def _cores(context: Context) -> int:
    asked = context.launch.get("cores")
    return int(asked) if asked else context.image.limits.cores or os.cpu_count() or 1


def _stop(java: subprocess.Popen[bytes]) -> None:
    """Close the JVM's standard input, which is its sign to stop, and wait for it."""
    if java.stdin is not None:
        java.stdin.close()
    try:
        java.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        java.kill()
        java.wait()
