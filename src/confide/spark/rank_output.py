"""Stands in for `pyspark.ml.torch.log_communication`, which sends what ranks print to the driver in clear.

So it stays where it is printed: in the sealed log of the executor.
"""

from __future__ import annotations

import sys

REPLACED = "pyspark.ml.torch.log_communication"


def install() -> None:
    """Put this module in its place, before PySpark imports it."""
    sys.modules[REPLACED] = sys.modules[__name__]


class LogStreamingServer:
    """Listens nowhere."""

    port = -1

    def start(self, spark_host_address: str = "") -> None:
        """Do nothing."""

    def shutdown(self) -> None:
        """Do nothing."""


class LogStreamingClient:
    """Sends nothing; `failed` has PySpark print each line instead."""

    failed = True

    def __init__(self, address: str, port: int) -> None:
        """Do nothing."""

    def send(self, message: str) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    @staticmethod
    def _destroy() -> None:
        """Do nothing."""
