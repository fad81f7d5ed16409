"""Runs an unmodified PySpark program against the confined JVM.

    python -m confide.spark.driver <program> [arguments]

Its standard input is one line, the gateway's port.

What differs from running the program with `python` is only where `SparkContext` finds its gateway. A program that ends
in `.sql` is one of SQL (`confide.spark.sql_program`).
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from confide.errors import ConfideError
from confide.jvm.agent import ask
from confide.jvm.explanation import explain
from confide.jvm.port import read_port
from confide.spark import sql_program


def main(argv: Sequence[str]) -> None:
    """Connect, then become the program."""
    program, *arguments = argv
    try:
        _connect()
        if program.endswith(".sql"):
            sql_program.run(Path(program), arguments)
            return
        sys.argv = [program, *arguments]
        sys.path.insert(0, str(Path(program).parent))  # started with -P, so there is no such entry yet
        runpy.run_path(program, run_name="__main__")
    except ConfideError as error:
        traceback.print_exc()
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001 - as Python ends a program, and one line more
        sys.excepthook(type(error), error, error.__traceback__)
        if said := explain(error):
            print(f"confide: {said}", file=sys.stderr)
        sys.exit(1)


def _connect() -> None:
    # PySpark's imports take a while: the JVM starts meanwhile.
    from confide.spark import collectives, gateway, rank_output

    secret = ask(Path(os.environ["CONFIDE_AGENT"]), "driver")
    gateway.install(gateway.connect(read_port(), secret))
    collectives.install()
    rank_output.install()


if __name__ == "__main__":
    main(sys.argv[1:])
