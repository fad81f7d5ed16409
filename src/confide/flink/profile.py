"""The Flink profile: a Python driver and its JVM, which holds a mini cluster: job manager and task manager in one.

Elsewhere than under a library OS the driver starts the JVM, as PyFlink's does, in one sandbox of the enclave. The
sandbox has a network of its own with nothing in it but the two processes, and finds storage at a place that programs do
not know: Flink runs Python functions inside its JVM, and what they `open()` must not be storage.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from confide.enclave.enclave_needs import enclave_cores
from confide.enclave.image import WORK
from confide.enclave.libos import GRAMINE, inside_libos, secrets_folder
from confide.enclave.processes import Program, copy_stream
from confide.enclave.profile import Context
from confide.flink import jvm
from confide.flink.gateway import STOP_SECONDS, python_in_jvm
from confide.flink.settings import settings
from confide.flink.stores import write_store
from confide.jvm.certificates import gateway_secrets
from confide.jvm.command import heap_mib

FOLDER = "/opt/confide/flink"
"""Where our own jar, and those that it needs, lie inside the enclave."""

LOG_CONFIG = f"{FOLDER}/log4j2.properties"
STORAGE = "/data"
"""Where the data root lies for the guard under a library OS; elsewhere at a name made for the run."""

_MAX_PORT_BYTES = 16


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
    """

    installation: Installation
    sandbox: Sequence[str]

    def run(self, context: Context) -> int:
        """Run the program to its end and return its exit code."""
        scratch, parts = context.scratch, self.installation
        (scratch / "tmp").mkdir(mode=0o700)
        now = datetime.datetime.now(datetime.UTC)
        store = write_store(secrets_folder() / "flink", now)
        table = settings(PurePosixPath(scratch), PurePosixPath(parts.python), store, cores=_cores(context))
        gateway, driver = gateway_secrets(now)
        gateway |= {"properties": table.values(), "settings": table.rules()}
        java = jvm.command(
            java=PurePosixPath(parts.java),
            class_path=parts.class_path(),
            log_config=PurePosixPath(parts.log_config),
            scratch=PurePosixPath(scratch),
            storage=PurePosixPath(parts.storage),
            heap_mib=heap_mib(context.image.limits.memory_mib),
            enclave_cores=_cores(context) if inside_libos() else None,
            spawn=inside_libos() != GRAMINE,
        )
        if inside_libos():
            context.secrets.update(gateway=gateway, driver=driver)
            return self._run_beside(context, java)
        context.secrets.update(gateway=gateway, driver=driver | {"java": java})
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
            program = context.start(self._driver(context, nothing.fileno()))
        context.started()
        return program.wait()

    def _run_beside(self, context: Context, java: list[str]) -> int:
        """Run JVM and driver as two programs, neither of which has to fork the other."""
        said_out, said_in = os.pipe()
        port_out, port_in = os.pipe()
        modules = Path(context.image.program).parent
        gateway = context.start(
            Program(
                argv=[*java, "-"],
                env={**self._environment(context), **python_in_jvm(modules)},
                cwd=Path(WORK),
                stdout=said_in,
                stderr=context.output,
            )
        )
        os.close(said_in)
        telling = threading.Thread(
            target=_pass_on, args=(said_out, port_in, context.output), name="port", daemon=True
        )
        telling.start()
        program = context.start(self._driver(context, port_out))
        os.close(port_out)
        context.started()
        try:
            return program.wait()
        finally:
            gateway.close_stdin()  # its sign to stop
            try:
                gateway.wait(STOP_SECONDS)
            except TimeoutError:
                gateway.kill()
                gateway.wait()

    def _driver(self, context: Context, stdin: int) -> Program:
        return Program(
            argv=[
                *self.sandbox,
                str(self.installation.python),
                "-BPm",
                "confide.flink.driver",
                context.image.program,
                *context.arguments,
            ],
            env=self._environment(context),
            cwd=Path(WORK),
            stdin=stdin,
            stdout=context.output,
            stderr=context.output,
        )

    def _environment(self, context: Context) -> dict[str, str]:
        return {
            **os.environ,
            **context.image.env,
            "CONFIDE_AGENT": str(context.socket),
            "HOME": str(context.scratch),
            "TMPDIR": str(context.scratch / "tmp"),
            "FLINK_HOME": str(self.installation.flink),
            # Else PyFlink starts a server for Python processes, of which there are none.
            "_python_worker_execution_mode": "process",
        }


def _pass_on(source: int, port: int, output: int) -> None:
    """Give the first line that the JVM prints, its gateway's port, to the driver, and all that follows to the log."""
    line = b""
    while len(line) < _MAX_PORT_BYTES and not line.endswith(b"\n") and (byte := os.read(source, 1)):
        line += byte
    with contextlib.suppress(OSError):  # the driver has ended
        os.write(port, line)
    os.close(port)
    copy_stream(source, os.dup(output))


def _cores(context: Context) -> int:
    asked = context.launch.get("cores")
    if inside_libos():  # its threads were counted when it was built
        most = enclave_cores(context.image.limits)
        return min(int(asked), most) if asked else most
    return int(asked) if asked else context.image.limits.cores or os.cpu_count() or 1
