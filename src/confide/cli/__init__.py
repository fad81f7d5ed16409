"""The command line: one file per noun; parses, calls, prints, nothing else."""

from __future__ import annotations

import sys


def main() -> None:
    """Run `confide`; exit codes are those of `confide.errors` and of the workload that ran."""
    from confide.cli.app import app
    from confide.cli.failure import report
    from confide.errors import ConfideError
    from confide.keys.private_memory import keep_memory_private

    keep_memory_private()
    try:
        app(standalone_mode=True)
    except ConfideError as error:
        sys.exit(report(error, as_json="--json" in sys.argv))
    except BrokenPipeError:
        sys.exit(0)  # the reader of our output went away
    except KeyboardInterrupt:
        sys.stderr.write("\nconfide: interrupted\n")
        sys.exit(130)
