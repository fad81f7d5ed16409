"""First process of a Flink image: the agent, with the profile of the image's role."""

from __future__ import annotations

from confide.enclave import early

CHILDREN = early.prepare()  # before anything else is imported

# ruff: noqa: E402
import secrets
from dataclasses import replace
from pathlib import Path

from confide.enclave import agent
from confide.enclave.image import JAVA, PYTHON_BINARY, SCRATCH, SITE, WORK
from confide.enclave.launch import EXECUTOR
from confide.enclave.libos import inside_libos
from confide.enclave.profile import Context
from confide.enclave.workload_sandbox import sandbox_prefix
from confide.flink.installation import FOLDER, LOG_CONFIG, STORAGE, Installation
from confide.flink.profile import FlinkProfile
from confide.flink.task_manager import TaskManagerProfile

INSTALLATION = Installation(
    java=Path(JAVA, "bin/java"),
    python=Path(PYTHON_BINARY),
    flink=Path(SITE, "pyflink"),
    jars=Path(FOLDER),
    log_config=Path(LOG_CONFIG),
    storage=Path(STORAGE),
)


class _ByRole:
    """What the measured image says that it is: a driver, or a task manager of one."""

    def run(self, context: Context) -> int:
        if inside_libos():  # where each process is an enclave of its own, and there is nothing to nest in it
            return FlinkProfile(INSTALLATION, lambda _: []).run(context)
        storage = f"/{secrets.token_hex(16)}"
        binds = {SCRATCH: Path(SCRATCH), storage: Path(WORK)}
        profile = TaskManagerProfile if context.image.role == EXECUTOR else FlinkProfile
        return profile(
            replace(INSTALLATION, storage=Path(storage)),
            lambda network: sandbox_prefix(binds, agent_socket=True, network=network),
        ).run(context)


def main() -> None:
    """Run as the first process of an enclave; never returns."""
    agent.main(_ByRole(), CHILDREN, asked=True)


if __name__ == "__main__":
    main()
