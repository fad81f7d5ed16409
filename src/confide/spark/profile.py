"""The profiles of Spark: a JVM and a Python driver in one enclave, and what joins them; or a program of the JVM's."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from confide.enclave.image import WORK
from confide.enclave.libos import inside_libos, secrets_folder
from confide.enclave.processes import Program
from confide.enclave.profile import Context
from confide.enclave.streamed import state
from confide.errors import LaunchRefused
from confide.jvm.certificates import gateway_secrets
from confide.jvm.command import heap_mib
from confide.jvm.stores import write_own_stores, write_stores
from confide.spark import jvm, pair, ranks
from confide.spark.cluster_settings import Job
from confide.spark.engine import NO_LIBOS
from confide.spark.installation import (
    CLASS,
    FILES,
    Installation,
    Sandbox,
    cores,
    launcher_path,
    own_settings,
    streamed_folders,
)
from confide.spark.local_cluster import LocalCluster
from confide.spark.server import Server
from confide.spark.server_configuration import is_server
from confide.spark.settings import settings
from confide.spark.web_pages import WebPages


@dataclass(frozen=True)
class SparkProfile:
    """Runs a Spark program (`confide.enclave.profile.Profile`).

    Attributes:
        installation: where the parts lie.
        sandbox: of Python processes.
        alone: what to put before the argv of JVM and driver together, where the engine wants a network that holds
            nothing else.
    """

    installation: Installation
    sandbox: Sandbox
    alone: Sequence[str] = ()

    def run(self, context: Context) -> int:
        """Run the program to its end and return its exit code.

        Raises:
            LaunchRefused: the engine wants a network of its own, and a library OS has none; executors that share the
                enclave do not fit into its memory.
            NoGrant, Misuse, FileMissing, FileChanged, FileUnlisted, NotEncrypted: a table that ranks read themselves is
                not granted, or not what was committed.
        """
        engine = self.installation.engine
        if inside_libos() is not None and not engine.unix_sockets:
            raise LaunchRefused(f"{engine.profile}: {NO_LIBOS}")
        tables = ranks.tables(context)
        job = _job(context, state(tables))
        with ranks.group(context, job, tables):
            return self._run(context, job)

    def _run(self, context: Context, job: Job | None) -> int:
        engine, enclave = self.installation.engine, inside_libos() is not None
        now = datetime.datetime.now(datetime.UTC)
        environment = self.installation.prepare(context, self.sandbox)
        environment["PYSPARK_PYTHON"] = str(launcher_path(context))
        server = Server.of(context) if is_server(context.image.program) else None
        pages = WebPages.of(context)
        if pages is not None:
            environment |= pages.environment()
        own = own_settings(context.image)
        cluster = None if engine.unix_sockets else LocalCluster.of(own)
        table = settings(
            PurePosixPath(context.scratch),
            cores=cores(context),
            job=job,
            own=own,
            enclave=enclave,
            stores=write_own_stores(now, secrets_folder()) if enclave and job is None else None,
            server=server.settings if server else None,
            pages=pages,
            engine=engine,
            cluster=cluster,
        )
        if server is not None:
            return server.run(table, self.installation, environment)
        gateway, driver = gateway_secrets(now)
        hardened = table.given()
        context.secrets.update(gateway=gateway | hardened, driver=driver)
        heap = None
        if cluster is not None:
            heap = heap_mib(cluster.driver_mib(context.image.limits.memory_mib))
            context.secrets["executor"] = hardened | self._beside(context, cluster)
        if CLASS in context.image.settings:
            return self._run_class(context, environment, heap)
        return self._run_python(context, environment, heap)

    def _beside(self, context: Context, cluster: LocalCluster) -> dict[str, object]:
        """Return how the driver's JVM starts executors, but for arguments of its own, and where their folders lie."""
        command = self.installation.java_command(context, jvm.EXECUTOR_CLASS, heap=cluster.memory_mib)
        return {"command": command, "files": str(context.scratch / FILES)}

    def _run_class(self, context: Context, environment: Mapping[str, str], heap: int | None) -> int:
        """Run a class of the program's jars; no Python but that of its functions, if it has any."""
        name = context.image.settings[CLASS]
        argv = self.installation.java_command(context, jvm.PROGRAM_CLASS, name, *context.arguments, heap=heap)
        return self._run_one(context, environment, argv, context.scratch)

    def _run_python(self, context: Context, environment: Mapping[str, str], heap: int | None) -> int:
        """Run a program of Python or SQL, and the JVM that does its work."""
        java = self.installation.java_command(context, jvm.GATEWAY_CLASS, heap=heap)
        python = [
            *self.sandbox(True, streamed_folders(context)),
            str(self.installation.python),
            "-BPm",
            "confide.spark.driver",
            context.image.program,
            *context.arguments,
        ]
        if not self.installation.engine.unix_sockets:
            together = pair.command(self.installation.python, java, python)
            return self._run_one(context, environment, together, Path(WORK))
        out = context.output
        return pair.run(
            lambda port: Program(java, environment, context.scratch, stdout=port, stderr=out),
            lambda port: Program(python, environment, Path(WORK), stdin=port, stdout=out, stderr=out),
            context.start,
            context.started,
        )

    def _run_one(self, context: Context, environment: Mapping[str, str], argv: list[str], cwd: Path) -> int:
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
            program = context.start(
                Program(
                    argv=[*self.alone, *argv],
                    env=environment,
                    cwd=cwd,
                    stdin=nothing.fileno(),
                    stdout=context.output,
                    stderr=context.output,
                )
            )
        context.started()
        return program.wait()


def _job(context: Context, tables: str) -> Job | None:
    """Open a job, if there are to be executors elsewhere; `tables` as in `Job`."""
    executors = context.launch.get("executors")
    if executors is None:
        return None
    identity = context.mesh()
    stores = write_stores(identity, secrets_folder())
    return Job(context.launch.get("host", "127.0.0.1"), int(executors), stores, tables)
