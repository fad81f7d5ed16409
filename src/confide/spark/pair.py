"""A JVM and the driver whose work it does: started, joined by the gateway's port, ended together.

    python -m confide.spark.pair COUNT JVM... DRIVER...

runs them as two programs of one sandbox: COUNT words are the JVM's argv, the rest is the driver's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from confide.enclave.processes import Process, Program, Starter, start_child

STOP_SECONDS = 30.0
"""How long the JVM may take to stop its context once it is told to."""


def run(
    java: Callable[[int], Program],
    python: Callable[[int], Program],
    start: Starter,
    started: Callable[[], None] = lambda: None,
) -> int:
    """Run both and return the driver's exit code.

    Args:
        java: the JVM, given where its port is to go.
        python: the driver, given where the port comes from.
        start: starts a program.
        started: called once, when both run.
    """
    port_in, port_out = os.pipe()
    # The JVM first: it starts while Python imports; neither has to fork the other.
    jvm = start(java(port_out))
    os.close(port_out)
    driver = start(python(port_in))
    os.close(port_in)
    started()
    try:
        return driver.wait()
    finally:
        stop(jvm)


def stop(java: Process) -> None:
    """Close the JVM's standard input, which is its sign to stop, and wait for it."""
    java.close_stdin()
    try:
        java.wait(STOP_SECONDS)
    except TimeoutError:
        java.kill()
        java.wait()


def command(python: Path, java: Sequence[str], driver: Sequence[str]) -> list[str]:
    """Return the argv that runs both."""
    return [str(python), "-BPm", "confide.spark.pair", str(len(java)), *java, *driver]


def main(argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """Run both and end as the driver did."""
    count, here = int(argv[0]) + 1, Path.cwd()
    code = run(
        lambda port: Program(argv[1:count], environment, here, stdout=port, stderr=2),
        lambda port: Program(argv[count:], environment, here, stdin=port, stdout=1, stderr=2),
        start_child,
    )
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
