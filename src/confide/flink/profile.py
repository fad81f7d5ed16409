"""The Flink profile: a Python driver and its JVM, which holds a mini cluster: job manager and task manager in one.

Elsewhere than under a library OS the driver starts the JVM, as PyFlink's does, in one sandbox of the enclave. The
sandbox has a network of its own with nothing in it but the two processes, and finds storage at a place that programs do
not know: Flink runs Python functions inside its JVM, and what they `open()` must not be storage. Streams
that the owners grant are reached by a Unix socket of the agent, and nothing else is.

Where task managers run in enclaves of their own (`task_manager.py`), the JVM holds the job manager, and the sandbox is
in the enclave's network, in which they reach it.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

from confide.enclave.image import WORK
from confide.enclave.libos import inside_libos, secrets_folder
from confide.enclave.processes import Program, copy_stream
from confide.enclave.profile import Context
from confide.errors import LaunchRefused
from confide.flink.brokers import granted_brokers, write_hosts
from confide.flink.cluster_settings import Job
from confide.flink.gateway import STOP_SECONDS, python_in_jvm
from confide.flink.installation import Installation, Sandbox, cores, own_folder, way_out
from confide.flink.jvm import GATEWAY_CLASS
from confide.flink.settings import settings
from confide.jvm.certificates import gateway_secrets
from confide.jvm.stores import write_own_stores, write_stores

_MAX_PORT_BYTES = 16


@dataclass(frozen=True)
class FlinkProfile:
    """Runs a PyFlink program (`confide.enclave.profile.Profile`).

    Attributes:
        installation: where the parts lie.
        sandbox: of the driver, which starts the JVM in it.
    """

    installation: Installation
    sandbox: Sandbox

    def run(self, context: Context) -> int:
        """Run the program to its end and return its exit code.

        Raises:
            LaunchRefused: it is to have task managers elsewhere, under a library OS.
        """
        (context.scratch / "tmp").mkdir(mode=0o700)
        now, job, own = datetime.datetime.now(datetime.UTC), _job(context), own_folder()
        table = settings(
            PurePosixPath(context.scratch),
            PurePosixPath(self.installation.python),
            write_own_stores(now, own),
            cores=cores(context) if job is None else int(context.launch.get("cores", "1")),
            job=job,
        )
        gateway, driver = gateway_secrets(now)
        # Where the sandbox is in a network, a Kafka client finds its brokers by itself.
        brokers = granted_brokers(context.release.grants) if job is None and not inside_libos() else []
        gateway |= table.given() | {
            "cluster": job is not None,
            "brokers": [asdict(broker) for broker in brokers],
        }
        java = self.installation.java_command(
            context,
            GATEWAY_CLASS,
            member=job is not None,
            hosts=write_hosts(brokers, own) if brokers else None,
        )
        if inside_libos():
            context.secrets.update(gateway=gateway, driver=driver)
            return self._run_beside(context, java)
        context.secrets.update(gateway=gateway, driver=driver | {"java": java})
        with way_out(context), open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
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
                env={**self.installation.environment(context), **python_in_jvm(modules)},
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
                *self.sandbox("executors" in context.launch),
                str(self.installation.python),
                "-BPm",
                "confide.flink.driver",
                context.image.program,
                *context.arguments,
            ],
            env=self.installation.environment(context),
            cwd=Path(WORK),
            stdin=stdin,
            stdout=context.output,
            stderr=context.output,
        )


def _pass_on(source: int, port: int, output: int) -> None:
    """Give the first line that the JVM prints, its gateway's port, to the driver, and all that follows to the log."""
    line = b""
    while len(line) < _MAX_PORT_BYTES and not line.endswith(b"\n") and (byte := os.read(source, 1)):
        line += byte
    with contextlib.suppress(OSError):  # the driver has ended
        os.write(port, line)
    os.close(port)
    copy_stream(source, os.dup(output))


def _job(context: Context) -> Job | None:
    """Open a job, if there are to be task managers elsewhere."""
    executors = context.launch.get("executors")
    if executors is None:
        return None
    if inside_libos():
        raise LaunchRefused("flink: task managers in enclaves of their own do not run under a library OS")
    stores = write_stores(context.mesh(), secrets_folder())
    return Job(context.launch.get("host", "127.0.0.1"), stores, int(executors))
