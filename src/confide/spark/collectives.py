"""Libraries whose processes speak with one another beside Spark, in clear: refused with more than one of them.

Spark's channels are encrypted; what a library opens in the program's functions is not. It asks Spark for such functions
by a barrier (`RDD.barrier`). This keeps a program from leaking by mistake; one that means to may open connections.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from pyspark import RDD

from confide.errors import LaunchRefused

IN_CLEAR: Mapping[str, str] = {
    "xgboost": "its workers would exchange what they learn in clear: give num_workers=1",
}
"""Top-level module -> why more than one task of its is refused."""


def install() -> None:
    """Have every `RDD.barrier` of this process checked."""
    barrier = RDD.barrier

    def checked(self: RDD[Any]) -> Any:
        library = sys._getframe(1).f_globals.get("__name__", "").partition(".")[0]
        if library in IN_CLEAR and self.getNumPartitions() > 1:
            raise LaunchRefused(f"{library}: {IN_CLEAR[library]}")
        return barrier(self)

    RDD.barrier = checked  # type: ignore[method-assign]
