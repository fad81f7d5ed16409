"""The Flink profile: one Python driver, which starts its JVM as PyFlink's does, in one sandbox of the enclave.

The sandbox has a network of its own with nothing in it but the two processes, and finds storage at a place that
programs do not know: Flink runs Python functions inside its JVM, and what they `open()` must not be storage.
"""

from __future__ import annotations

import datetime
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from confide.enclave.profile import Context
from confide.flink import jvm
from confide.flink.settings import settings
from confide.flink.stores import write_store
from confide.jvm.certificates import gateway_secrets
from confide.jvm.command import heap_mib

FOLDER = "/opt/confide/flink"
"""Where our own jar, and those that it needs, lie inside the enclave."""

LOG_CONFIG = f"{FOLDER}/log4j2.properties"
STORAGE = "/data"
"""Where the data root lies for the guard, inside the sandbox."""


@dataclass(frozen=True)
class Installation:
    """Where the parts lie inside the enclave.

    Attributes:
        java: the `java` program.
        python: the interpreter.
        flink: the package `pyflink`, which is Flink's home.
        jars: folder of our jar and those that it needs.
        log_config: log4j2's configuration.
        storage: the data root, as the JVM sees it.
    """

    java: Path
    python: Path
    flink: Path
    jars: Path
    log_config: Path
    storage: Path

    def class_path(self) -> list[PurePosixPath]:
        """Return our jars first, then Flink's, in the order of their names."""
        ours = sorted(self.jars.glob("*.jar"), key=lambda path: (path.name != "confide.jar", path.name))
        theirs = [*sorted(self.flink.glob("lib/*.jar")), *sorted(self.flink.glob("opt/flink-python-*.jar"))]
        return [PurePosixPath(path) for path in (*ours, *theirs)]


@dataclass(frozen=True)
class FlinkProfile:
    """Runs a PyFlink program (`confide.enclave.profile.Profile`).

    Attributes:
        installation: where the parts lie.
        sandbox: what to put before the argv of the driver.
        memory: folder in the enclave's memory, for the run's key.
    """

    installation: Installation
    sandbox: Sequence[str]
    memory: Path

    def run(self, context: Context) -> int:
        """Run the program to its end and return its exit code."""
        scratch, parts = context.scratch, self.installation
        (scratch / "tmp").mkdir(mode=0o700)
        now = datetime.datetime.now(datetime.UTC)
        store = write_store(self.memory / "flink", now)
        table = settings(PurePosixPath(scratch), PurePosixPath(parts.python), store, cores=_cores(context))
        gateway, driver = gateway_secrets(now)
        gateway |= {"properties": table.values(), "settings": table.rules()}
        driver["java"] = jvm.command(
            java=PurePosixPath(parts.java),
            class_path=parts.class_path(),
            log_config=PurePosixPath(parts.log_config),
            scratch=PurePosixPath(scratch),
            storage=PurePosixPath(parts.storage),
            heap_mib=heap_mib(context.image.limits.memory_mib),
        )
        context.secrets.update(gateway=gateway, driver=driver)
        program = subprocess.Popen(
            [
                *self.sandbox,
                str(parts.python),
                "-BPm",
                "confide.flink.driver",
                context.image.program,
                *context.arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=context.output,
            stderr=context.output,
            cwd=context.work,
            env={
                **os.environ,
                **context.image.env,
                "CONFIDE_AGENT": str(context.socket),
                "HOME": str(scratch),
                "TMPDIR": str(scratch / "tmp"),
                "FLINK_HOME": str(parts.flink),
                # Else PyFlink starts a server for Python processes, of which there are none.
                "_python_worker_execution_mode": "process",
            },
        )
        context.started()
        return program.wait()


def _cores(context: Context) -> int:
    asked = context.launch.get("cores")
    return int(asked) if asked else context.image.limits.cores or os.cpu_count() or 1
