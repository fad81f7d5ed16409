"""The profile of task managers: a JVM in an enclave of its own, a member of the job that its launch parameters name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from confide.broker.mesh_names import MEMBER
from confide.enclave.image import WORK
from confide.enclave.launch import DRIVER, EXECUTOR
from confide.enclave.libos import secrets_folder
from confide.enclave.processes import Program
from confide.enclave.profile import Context
from confide.flink.cluster_settings import Job
from confide.flink.gateway import python_in_jvm
from confide.flink.installation import Installation, Sandbox, cores, own_folder, way_out
from confide.flink.jvm import TASK_MANAGER_CLASS
from confide.flink.settings import settings
from confide.jvm.command import heap_mib
from confide.jvm.stores import write_own_stores, write_stores


@dataclass(frozen=True)
class TaskManagerProfile:
    """Runs a task manager to the end of its job (`confide.enclave.profile.Profile`).

    Attributes:
        installation: where the parts lie.
        sandbox: of the JVM, with the program's functions in it.
    """

    installation: Installation
    sandbox: Sandbox

    def run(self, context: Context) -> int:
        """Run the task manager and return its JVM's exit code."""
        (context.scratch / "tmp").mkdir(mode=0o700)
        launch = context.launch
        table = settings(
            PurePosixPath(context.scratch),
            PurePosixPath(self.installation.python),
            write_own_stores(datetime.now(UTC), own_folder()),
            cores=cores(context),
            job=Job(
                host=launch["host"],
                stores=write_stores(context.mesh(), secrets_folder()),
                driver=launch[DRIVER],
                name=f"{EXECUTOR}-{launch[MEMBER]}",
            ),
            heap_mib=heap_mib(context.image.limits.memory_mib),
        )
        context.secrets["executor"] = table.given()
        modules = Path(context.image.program).parent
        with way_out(context), open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device
            java = context.start(
                Program(
                    argv=[
                        *self.sandbox(True),
                        *self.installation.java_command(context, TASK_MANAGER_CLASS, member=True),
                    ],
                    env={**self.installation.environment(context), **python_in_jvm(modules)},
                    cwd=Path(WORK),
                    stdin=nothing.fileno(),
                    stdout=context.output,
                    stderr=context.output,
                )
            )
            context.started()
            return java.wait()
