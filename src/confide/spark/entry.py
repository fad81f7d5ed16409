"""First process of a Spark image: the agent, with the Spark profile."""

from __future__ import annotations

from pathlib import Path

from confide.enclave import agent
from confide.enclave.image import JAVA, PYTHON_BINARY, SCRATCH, SITE
from confide.enclave.workload_sandbox import sandbox_prefix
from confide.spark.image_spec import ARCHIVE, JAR, LOG_CONFIG
from confide.spark.profile import Installation, SparkProfile

INSTALLATION = Installation(
    java=Path(JAVA, "bin/java"),
    python=Path(PYTHON_BINARY),
    jars=Path(SITE, "pyspark/jars"),
    jar=Path(JAR),
    log_config=Path(LOG_CONFIG),
    archive=Path(ARCHIVE),
)


def _sandbox(agent_socket: bool) -> list[str]:
    return sandbox_prefix({SCRATCH: Path(SCRATCH)}, agent_socket=agent_socket)


def main() -> None:
    """Run as the first process of an enclave; never returns."""
    agent.main(SparkProfile(INSTALLATION, _sandbox))


if __name__ == "__main__":
    main()
