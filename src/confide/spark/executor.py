"""The profile of executors: one JVM in an enclave of its own, a member of the job that its launch parameters name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import PurePosixPath

from confide.broker.mesh_names import MEMBER
from confide.enclave.launch import DRIVER
from confide.enclave.libos import inside_libos, secrets_folder
from confide.enclave.processes import Program
from confide.enclave.profile import Context
from confide.enclave.streamed import state
from confide.jvm.stores import write_stores
from confide.spark import jvm, ranks
from confide.spark.cluster_settings import Job
from confide.spark.installation import FILES, Installation, Sandbox, cores, own_settings
from confide.spark.settings import settings


@dataclass(frozen=True)
class ExecutorProfile:
    """Runs an executor to the end of its job (`confide.enclave.profile.Profile`).

    Attributes:
        installation: where the parts lie.
        sandbox: of Python processes.
    """

    installation: Installation
    sandbox: Sandbox

    def run(self, context: Context) -> int:
        """Run the executor and return its JVM's exit code. Raises as `ranks.tables`."""
        tables = ranks.tables(context)
        stores = write_stores(context.mesh(), secrets_folder())
        job = Job(context.launch["host"], 1, stores, state(tables))
        with ranks.group(context, job, tables):
            return self._run(context, job)

    def _run(self, context: Context, job: Job) -> int:
        environment = self.installation.prepare(context, self.sandbox)
        table = settings(
            PurePosixPath(context.scratch),
            cores=cores(context),
            job=job,
            own=own_settings(context.image),
            enclave=inside_libos() is not None,
            executor=True,
        )
        context.secrets["executor"] = table.given()
        with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
            java = context.start(
                Program(
                    argv=self.installation.java_command(context, jvm.EXECUTOR_CLASS, *_arguments(context)),
                    env=environment,
                    cwd=context.scratch / FILES,
                    stdin=nothing.fileno(),
                    stdout=context.output,
                    stderr=context.output,
                )
            )
        context.started()
        return java.wait()


def _arguments(context: Context) -> list[str]:
    launch = context.launch
    given = {
        "driver-url": f"spark://CoarseGrainedScheduler@{launch[DRIVER]}",
        "executor-id": launch[MEMBER],
        "bind-address": launch["host"],
        "hostname": launch["host"],
        "cores": str(cores(context)),
        "app-id": launch["application"],
    }
    return [word for name, value in given.items() for word in (f"--{name}", value)]
