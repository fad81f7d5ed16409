"""One line of `confide doctor`'s report."""

from __future__ import annotations

from dataclasses import dataclass

OK, MISSING, ABSENT = "ok", "missing", "not here"


@dataclass(frozen=True)
class Finding:
    """One line of the report. `state`: ok, missing (needed for simulated runs), not here (optional hardware)."""

    what: str
    state: str
    detail: str
    advice: str = ""
