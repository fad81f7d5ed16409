"""Runs an unmodified PyFlink program against the confined JVM.

    python -m confide.flink.driver <program> [arguments]

What differs from running the program with `python` is only where PyFlink finds its gateway. Where the JVM was started
beside it, its port comes as one line on standard input.
"""

from __future__ import annotations

import os
import runpy
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from confide.errors import ConfideError
from confide.jvm.agent import ask
from confide.jvm.explanation import explain
from confide.jvm.port import read_port


def main(argv: Sequence[str]) -> None:
    """Start the JVM, run the program against it, and exit as the program does."""
    from confide.flink import gateway

    try:
        secret = ask(Path(os.environ["CONFIDE_AGENT"]), "driver")
        beside = "java" not in secret
        with nullcontext(read_port) if beside else gateway.java(secret["java"], Path(argv[0]).parent) as port:
            from confide.flink import vectorized  # PyFlink's imports take a while: the JVM starts meanwhile

            vectorized.install()
            gateway.install(gateway.connect(port(), secret))
            _become(*argv)
    except ConfideError as error:
        traceback.print_exc()
        sys.exit(error.exit_code)


def _become(program: str, *arguments: str) -> None:
    sys.argv = [program, *arguments]
    sys.path.insert(0, str(Path(program).parent))  # started with -P, so there is no such entry yet
    try:
        runpy.run_path(program, run_name="__main__")
    except ConfideError:
        raise
    except Exception as error:  # noqa: BLE001 - as Python ends a program, and one line more
        sys.excepthook(type(error), error, error.__traceback__)
        if said := explain(error):  # the texts of Java's errors are in the JVM: ask while it is there
            print(f"confide: {said}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
