"""First process of a Spark image: the agent, with the profile of the image's role."""

from __future__ import annotations

from confide.enclave import early

CHILDREN = early.prepare()  # before anything else is imported

# ruff: noqa: E402
from collections.abc import Mapping
from pathlib import Path

from confide.enclave import agent
from confide.enclave.image import JAVA, PYTHON_BINARY, SCRATCH, SITE
from confide.enclave.launch import EXECUTOR
from confide.enclave.libos import inside_libos
from confide.enclave.profile import Context
from confide.enclave.workload_sandbox import sandbox_prefix
from confide.spark.executor import ExecutorProfile
from confide.spark.image_spec import ARCHIVE, JAR, LAST_JAR, LOG_CONFIG
from confide.spark.installation import Installation, workers_sandbox
from confide.spark.profile import SparkProfile

INSTALLATION = Installation(
    java=Path(JAVA, "bin/java"),
    python=Path(PYTHON_BINARY),
    jars=Path(SITE, "pyspark/jars"),
    jar=Path(JAR),
    last_jar=Path(LAST_JAR),
    log_config=Path(LOG_CONFIG),
    archive=Path(ARCHIVE),
)


def python_sandbox(driver: bool, tables: Mapping[str, Path]) -> list[str]:
    """Return what to put before the argv of a Python process (`confide.spark.installation.Sandbox`)."""
    if inside_libos():  # each process is an enclave of its own, and there is nothing to nest in it
        return []
    scratch = Path(SCRATCH)
    if driver:
        return sandbox_prefix({SCRATCH: scratch}, agent_socket=True, shown=tables)
    return workers_sandbox(scratch, tables)


class _ByRole:
    """What the measured image says that it is: a driver, or an executor of one."""

    def run(self, context: Context) -> int:
        profile = ExecutorProfile if context.image.role == EXECUTOR else SparkProfile
        return profile(INSTALLATION, python_sandbox).run(context)


def main() -> None:
    """Run as the first process of an enclave; never returns."""
    agent.main(_ByRole(), CHILDREN, asked=True)


if __name__ == "__main__":
    main()
