"""How a failure is shown: what was wrong, then a hint; the exit code is the error's own."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from confide.cli.hints import hint_for
from confide.cli.output import emit, say
from confide.errors import ConfideError, InvalidPolicy


def report(error: ConfideError, *, as_json: bool = False) -> int:
    """Print `error` and its hint to stderr (as one JSON document to stdout with `as_json`); return its exit code."""
    kind, hint = type(error).__name__, hint_for(error)
    if as_json:
        document: dict[str, Any] = {
            "error": kind,
            "message": str(error),
            "hint": hint,
            "exit_code": error.exit_code,
        }
        if isinstance(error, InvalidPolicy):
            document["faults"] = [asdict(fault) for fault in error.faults]
        emit(document)
        return error.exit_code
    say(f"confide: {kind}: {error}")
    if isinstance(error, InvalidPolicy):
        for fault in error.faults:
            say(f"  {fault}")
    if hint:
        say(f"hint: {hint}")
    return error.exit_code
