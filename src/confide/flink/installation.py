"""Where the parts of Flink lie inside the enclave, and what a program's JVM and a task manager's make of them alike."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from confide.enclave.enclave_needs import enclave_cores
from confide.enclave.image import JARS
from confide.enclave.libos import GRAMINE, inside_libos, secrets_folder
from confide.enclave.outside import Outside, granted_addresses
from confide.enclave.profile import Context
from confide.flink import jvm
from confide.jvm.command import heap_mib

FOLDER = "/opt/confide/flink"
"""Where our own jar, and those that it needs, lie inside the enclave."""

LOG_CONFIG = f"{FOLDER}/log4j2.properties"
STORAGE = "/data"
"""Where the data root lies for the guard under a library OS; elsewhere at a name made for the run."""

Sandbox = Callable[[bool], Sequence[str]]
"""Returns what to put before the argv of a program. The argument says whether it reaches the enclave's network, or has
one of its own."""


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
        """Return our jars first, then Flink's, then the program's, in the order of their names."""
        ours = sorted(self.jars.glob("*.jar"), key=lambda path: (path.name != "confide.jar", path.name))
        theirs = [*sorted(self.flink.glob("lib/*.jar")), *sorted(self.flink.glob("opt/flink-python-*.jar"))]
        return [PurePosixPath(path) for path in (*ours, *theirs, *sorted(Path(JARS).glob("*.jar")))]

    def java_command(
        self, context: Context, main: str, *, member: bool, hosts: Path | None = None
    ) -> list[str]:
        """Return the argv of a JVM that runs a class of ours.

        Args:
            context: of the run.
            main: the class.
            member: whether it is one of a job's members.
            hosts: as of `jvm.command`.
        """
        return jvm.command(
            java=PurePosixPath(self.java),
            class_path=self.class_path(),
            log_config=PurePosixPath(self.log_config),
            scratch=PurePosixPath(context.scratch),
            storage=PurePosixPath(self.storage),
            heap_mib=heap_mib(context.image.limits.memory_mib),
            main=main,
            hosts=PurePosixPath(hosts) if hosts else None,
            member=member,
            enclave_cores=cores(context) if inside_libos() else None,
            spawn=inside_libos() != GRAMINE,
        )

    def environment(self, context: Context) -> dict[str, str]:
        """Return the environment of driver and JVM."""
        return {
            **os.environ,
            **context.image.env,
            "CONFIDE_AGENT": str(context.socket),
            **({} if inside_libos() else {"CONFIDE_OUTSIDE": str(_outside_socket(context))}),
            "HOME": str(context.scratch),
            "TMPDIR": str(context.scratch / "tmp"),
            "FLINK_HOME": str(self.flink),
            # Else PyFlink starts a server for Python processes, of which there are none.
            "_python_worker_execution_mode": "process",
        }


def way_out(context: Context) -> contextlib.AbstractContextManager[object]:
    """Return what connects a sandbox to the streams that were granted, if any were."""
    addresses = granted_addresses(context.release.grants)
    if not addresses:
        return contextlib.nullcontext()
    return contextlib.closing(Outside(_outside_socket(context), addresses))


def own_folder() -> Path:
    """Make and return the folder, in memory, for the key stores of a process that speaks to itself alone."""
    folder = secrets_folder() / "flink"
    folder.mkdir(mode=0o700)
    return folder


def cores(context: Context) -> int:
    """Return the processors for tasks."""
    asked = context.launch.get("cores")
    if inside_libos():  # its threads were counted when it was built
        most = enclave_cores(context.image.limits)
        return min(int(asked), most) if asked else most
    return int(asked) if asked else context.image.limits.cores or os.cpu_count() or 1


def _outside_socket(context: Context) -> Path:
    return context.socket.with_name("outside.sock")
