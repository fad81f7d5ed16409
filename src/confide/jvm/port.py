"""How a driver that did not start its JVM learns the port of the gateway: by one line on its standard input."""

from __future__ import annotations

import os

from confide.errors import Unavailable

_MAX_LINE_BYTES = 16


def read_port() -> int:
    """Read the port, and leave the program an empty standard input.

    Raises:
        Unavailable: the JVM ended first.
    """
    line = os.read(0, _MAX_LINE_BYTES)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    if not line.endswith(b"\n"):
        raise Unavailable("the JVM ended before its gateway was open")
    return int(line)
