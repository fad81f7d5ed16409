"""The Spark profile: a JVM and a Python driver in one enclave, and what joins them; or a program for the JVM alone."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from confide.enclave.image import WORK
from confide.enclave.libos import inside_libos, secrets_folder
from confide.enclave.processes import Program
from confide.enclave.profile import Context
from confide.jvm.certificates import gateway_secrets
from confide.spark import jvm
from confide.spark.cluster_settings import Job
from confide.spark.installation import (
    CLASS,
    Installation,
    Sandbox,
    cores,
    launcher_path,
    own_settings,
    stop,
)
from confide.spark.server import Server
from confide.spark.server_configuration import is_server
from confide.spark.settings import settings
from confide.spark.stores import write_own_stores, write_stores
from confide.spark.web_pages import WebPages


@dataclass(frozen=True)
class SparkProfile:
    """Runs a Spark program (`confide.enclave.profile.Profile`).

    Attributes:
        installation: where the parts lie.
        sandbox: of Python processes.
    """

    installation: Installation
    sandbox: Sandbox

    def run(self, context: Context) -> int:
        """Run the program to its end and return its exit code."""
        now = datetime.datetime.now(datetime.UTC)
        environment = self.installation.prepare(context, self.sandbox)
        environment["PYSPARK_PYTHON"] = str(launcher_path(context))
        server = Server.of(context) if is_server(context.image.program) else None
        pages = WebPages.of(context)
        if pages is not None:
            environment |= pages.environment()
        job, enclave = _job(context), inside_libos() is not None
        table = settings(
            PurePosixPath(context.scratch),
            cores=cores(context),
            job=job,
            own=own_settings(context.image),
            enclave=enclave,
            stores=write_own_stores(now, secrets_folder()) if enclave and job is None else None,
            server=server.settings if server else None,
            pages=pages,
        )
        if server is not None:
            return server.run(table, self.installation, environment)
        gateway, driver = gateway_secrets(now)
        gateway |= {"properties": table.values(), "settings": table.rules()}
        context.secrets.update(gateway=gateway, driver=driver)
        if CLASS in context.image.settings:
            return self._run_class(context, environment)
        return self._run_python(context, environment)

    def _run_class(self, context: Context, environment: Mapping[str, str]) -> int:
        """Run a class of the program's jars; no Python but that of its functions, if it has any."""
        name = context.image.settings[CLASS]
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
            java = context.start(
                Program(
                    argv=self.installation.java_command(context, jvm.PROGRAM_CLASS, name, *context.arguments),
                    env=environment,
                    cwd=context.scratch,
                    stdin=nothing.fileno(),
                    stdout=context.output,
                    stderr=context.output,
                )
            )
        context.started()
        return java.wait()

    def _run_python(self, context: Context, environment: Mapping[str, str]) -> int:
        """Run a program of Python or SQL, and the JVM that does its work."""
        port_in, port_out = os.pipe()
        # The JVM first: it starts while Python imports; neither has to fork the other.
        java = context.start(
            Program(
                argv=self.installation.java_command(context, jvm.GATEWAY_CLASS),
                env=environment,
                cwd=context.scratch,
                stdout=port_out,
                stderr=context.output,
            )
        )
        os.close(port_out)
        python = context.start(
            Program(
                argv=[
                    *self.sandbox(True),
                    str(self.installation.python),
                    "-BPm",
                    "confide.spark.driver",
                    context.image.program,
                    *context.arguments,
                ],
                env=environment,
                cwd=Path(WORK),
                stdin=port_in,
                stdout=context.output,
                stderr=context.output,
            )
        )
        os.close(port_in)
        context.started()
        try:
            return python.wait()
        finally:
            stop(java)


def _job(context: Context) -> Job | None:
    """Open a job, if there are to be executors elsewhere."""
    executors = context.launch.get("executors")
    if executors is None:
        return None
    identity = context.mesh()
    stores = write_stores(identity, secrets_folder())
    return Job(context.launch.get("host", "127.0.0.1"), int(executors), stores)
