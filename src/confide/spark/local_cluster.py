"""Executors of Spark 3.5: further JVMs beside the driver's, in one enclave and the network that it has for itself.

They are asked for as in Spark, `spark.master=local-cluster[N,CORES,MIB]`, when the image is built, since its memory is
shared out among them. What Spark has for that (a Master and Workers, with web pages, folders of their own, and the
secret in the executors' environment) has no part in it: `confide.spark.ClusterBackend` starts the executors.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from confide.errors import LaunchRefused, Misuse
from confide.jvm.settings import Setting
from confide.spark.network_settings import unused_secret

MASTER = "spark.master"
_ASKED = re.compile(r"local-cluster\[ *([1-9][0-9]{0,3}) *, *([1-9][0-9]{0,3}) *, *([1-9][0-9]{0,7}) *\]")
OVERHEAD_MIB, OVERHEAD_PARTS = 384, 10
"""What an executor takes besides its heap: a tenth of that, and at least so much, as Spark counts elsewhere."""
DRIVER_MIB = 768
"""What is left to the driver, at least: with less, its JVM's heap is too small for Spark to start."""
_SHARED = "more memory or processors would be taken than is set apart for local-cluster[N,CORES,MIB]"


@dataclass(frozen=True)
class LocalCluster:
    """What an image asks for.

    Attributes:
        executors: how many.
        cores: of each, for tasks.
        memory_mib: heap of each.
        secret: by which the members know one another; made for the run.
    """

    executors: int
    cores: int
    memory_mib: int
    secret: str = field(default_factory=lambda: secrets.token_hex(32), repr=False)

    @classmethod
    def of(cls, own: Mapping[str, str]) -> LocalCluster | None:
        """Return what the settings of an image ask for; None: local mode.

        Raises:
            Misuse: it is not so spelled.
        """
        asked = own.get(MASTER, "")
        if not asked.startswith("local-cluster"):
            return None
        found = _ASKED.fullmatch(asked)
        if found is None:
            raise Misuse(f"{MASTER}={asked}: write local-cluster[N,CORES,MIB], as local-cluster[2,1,1024]")
        executors, cores, memory_mib = map(int, found.groups())
        return cls(executors, cores, memory_mib)

    def driver_mib(self, memory_mib: int) -> int:
        """Return what an enclave of that memory has left for the driver.

        Raises:
            LaunchRefused: too little.
        """
        each = self.memory_mib + max(OVERHEAD_MIB, self.memory_mib // OVERHEAD_PARTS)
        left = memory_mib - self.executors * each
        if left < DRIVER_MIB:
            needed = self.executors * each + DRIVER_MIB
            raise LaunchRefused(
                f"{self._asked()} does not fit into {memory_mib} MiB: an executor takes {each} MiB, its heap and what "
                f"it needs besides, and the driver {DRIVER_MIB}; give --memory {needed}m, or ask for less"
            )
        return left

    def settings(self) -> tuple[Setting, ...]:
        """Return the rows in place of those of local mode; libraries such as BigDL read cores and memory of them."""
        return (
            Setting(
                MASTER,
                f"spark-{self._asked()}",
                "executors are started beside the driver as the image says, and by nobody else: "
                "--conf 'spark.master=local-cluster[N,CORES,MIB]' when it is built",
                rf"{re.escape(f'spark-{self._asked()}')}|local(\[[0-9*, ]+\])?",
            ),
            Setting("spark.executor.cores", str(self.cores), _SHARED),
            Setting("spark.cores.max", str(self.executors * self.cores), _SHARED),
            Setting("spark.executor.memory", f"{self.memory_mib}m", _SHARED),
            unused_secret(),
            Setting(
                "spark.shuffle.service.enabled", "false", "blocks would go to a service that nobody started"
            ),
        )

    def _asked(self) -> str:
        return f"local-cluster[{self.executors},{self.cores},{self.memory_mib}]"


WAIT = (
    Setting("spark.scheduler.minRegisteredResourcesRatio", "1.0", "all executors are there, or soon will be"),
    Setting(
        "spark.scheduler.maxRegisteredResourcesWaitingTime", "120s", "executors start one beside the other"
    ),
)
