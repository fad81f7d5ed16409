"""First process of a Flink image: the agent, with the Flink profile."""

from __future__ import annotations

from confide.enclave import early

CHILDREN = early.prepare()  # before anything else is imported

# ruff: noqa: E402
import secrets
from dataclasses import replace
from pathlib import Path

from confide.enclave import agent
from confide.enclave.image import JAVA, PYTHON_BINARY, SCRATCH, SITE, WORK
from confide.enclave.libos import inside_libos
from confide.enclave.workload_sandbox import sandbox_prefix
from confide.flink.profile import FOLDER, LOG_CONFIG, STORAGE, FlinkProfile, Installation

INSTALLATION = Installation(
    java=Path(JAVA, "bin/java"),
    python=Path(PYTHON_BINARY),
    flink=Path(SITE, "pyflink"),
    jars=Path(FOLDER),
    log_config=Path(LOG_CONFIG),
    storage=Path(STORAGE),
)


def main() -> None:
    """Run as the first process of an enclave; never returns."""
    installation, sandbox = INSTALLATION, []
    if not inside_libos():  # where each process is an enclave of its own, and there is nothing to nest in it
        storage = f"/{secrets.token_hex(16)}"
        installation = replace(INSTALLATION, storage=Path(storage))
        binds = {SCRATCH: Path(SCRATCH), storage: Path(WORK)}
        sandbox = sandbox_prefix(binds, agent_socket=True, network=False)
    agent.main(FlinkProfile(installation, sandbox), CHILDREN, asked=True)


if __name__ == "__main__":
    main()
