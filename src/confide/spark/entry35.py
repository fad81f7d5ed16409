"""First process of an image of Spark 3.5: the agent, with the profile for it.

JVM and driver run in one sandbox of the enclave: its network holds nothing but them and the program's functions, as
rows cross its loopback device in clear. Storage lies there at a place that no program can name beforehand, and a folder
of scratch where programs expect storage: what a library in the JVM writes past Hadoop's file systems must not reach it.
"""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path

from confide.enclave import agent
from confide.enclave.image import SCRATCH, SITE, WORK
from confide.enclave.libos import inside_libos
from confide.enclave.workload_sandbox import sandbox_prefix
from confide.spark.engine import SPARK35
from confide.spark.entry import CHILDREN, INSTALLATION, python_sandbox
from confide.spark.installation import OWN_WORK
from confide.spark.profile import SparkProfile


def main() -> None:
    """Run as the first process of an enclave; never returns."""
    alone: list[str] = []
    storage = f"/{secrets.token_hex(16)}"
    if not inside_libos():  # where the profile refuses
        binds = {SCRATCH: Path(SCRATCH), storage: Path(WORK), WORK: Path(SCRATCH, OWN_WORK)}
        alone = sandbox_prefix(binds, agent_socket=True, network=False)
    installation = replace(INSTALLATION, storage=Path(storage), packages=Path(SITE), engine=SPARK35)
    agent.main(SparkProfile(installation, python_sandbox, alone), CHILDREN, asked=True)


if __name__ == "__main__":
    main()
