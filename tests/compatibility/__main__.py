"""`python -m tests.compatibility [FAMILY...]`: run, compare, keep the verdicts, renew docs/compatibility.md."""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.owner import new_owner
from benchmarks.workspace import workspace

from .families import FAMILIES
from .report import read_verdicts, table, write, write_verdicts
from .sides import judge


def main() -> int:
    """Run what was asked for; what earlier runs found of other families stays."""
    parser = argparse.ArgumentParser(prog="python -m tests.compatibility", description=__doc__)
    parser.add_argument("families", nargs="*", choices=[*FAMILIES, []], help="default: all")
    asked = parser.parse_args()
    for name in asked.families or FAMILIES:
        began = time.monotonic()
        with workspace() as folder, new_owner(folder) as owner:
            verdicts = judge(FAMILIES[name], folder, owner)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        for verdict in verdicts:
            print(f"  {verdict.kind:8} {verdict.name} {verdict.why}", flush=True)
        found = {**read_verdicts(), name: verdicts}
        write_verdicts(found)
        write(table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
