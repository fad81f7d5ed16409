"""`python -m benchmarks [NAME...|all] [--quick] [--json FILE]`; `--help` lists what there is."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from benchmarks import machine
from benchmarks.options import QUICK, Options
from benchmarks.process import CommandFailed
from benchmarks.report import Report

MODULES = {
    "tpch": "benchmarks.tpch.bench",
    "cluster": "benchmarks.cluster",
    "sort": "benchmarks.sort.bench",
    "executors": "benchmarks.executors.bench",
    "write": "benchmarks.write.bench",
    "flink": "benchmarks.flink.bench",
    "encrypt": "benchmarks.encrypt",
    "release": "benchmarks.release.bench",
    "at-once": "benchmarks.release.at_once",
    "startup": "benchmarks.startup.bench",
    "verify": "benchmarks.verify",
    "serving": "benchmarks.serving.bench",
    "serving-resnet": "benchmarks.serving.resnet",
    "serving-queue": "benchmarks.serving.queue",
    "training": "benchmarks.training.bench",
    "epochs": "benchmarks.training.epochs",
}


def main() -> int:
    """Run what was asked for; exit 1 if a benchmark could not run. Missed bars are reported, not punished."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure confide against its peers."
    )
    parser.add_argument("what", nargs="*", default=["all"], choices=[*MODULES, "all"], help="default: all")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: shows that it runs, measures nothing"
    )
    parser.add_argument("--runs", type=int, help="interleaved runs of each side (default 5)")
    parser.add_argument("--scale", type=float, help="TPC-H scale factor (default 1)")
    parser.add_argument(
        "--cold", action="store_true", help="TPC-H: one pass, none before to warm up (large scales)"
    )
    parser.add_argument("--plain-only", action="store_true", help="leave out what needs `confide run`")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every value measured to FILE")
    asked = parser.parse_args()

    options = QUICK if asked.quick else Options()
    given = {name: getattr(asked, name) for name in ("runs", "scale") if getattr(asked, name) is not None}
    options = replace(options, plain_only=asked.plain_only, cold=asked.cold, **given)
    chosen = list(MODULES) if "all" in asked.what else asked.what
    found = machine.machine()
    print(f"Machine: {machine.markdown(found)}\n", flush=True)
    if options.runs < 5 or asked.quick:
        print("**A try, no measurement: fewer than five runs or tiny sizes.**\n", flush=True)

    documents, failed = {}, False
    for name in chosen:
        try:
            report = _benchmark(name)(options)
        except CommandFailed as error:
            print(f"{name}: could not run: {error}\n", file=sys.stderr, flush=True)
            failed = True
            continue
        print(report.markdown(), flush=True)
        documents[name] = report.document()
    if asked.json:
        content = {"machine": found, "options": vars(options), "quick": asked.quick, "reports": documents}
        asked.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _benchmark(name: str) -> Callable[[Options], Report]:
    benchmark: Callable[[Options], Report] = import_module(MODULES[name]).run
    return benchmark


if __name__ == "__main__":
    sys.exit(main())
