"""What was found, and the table of docs/compatibility.md that says it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from .families import FAMILIES
from .sides import NOWHERE, OTHER, REFUSED, SAME, VARIES, Verdict

DOCUMENT = Path(__file__).parents[2] / "docs/compatibility.md"
VERDICTS = Path(__file__).with_name("verdicts.json")
BEGIN, END = "<!-- made by `make compat` -->", "<!-- until here -->"

Found = Mapping[str, Sequence[Verdict]]


def read_verdicts() -> dict[str, list[Verdict]]:
    """Return family -> what earlier runs found."""
    kept = json.loads(VERDICTS.read_text()) if VERDICTS.exists() else {}
    return {name: [Verdict(**each) for each in verdicts] for name, verdicts in kept.items()}


def write_verdicts(found: Found) -> None:
    """Keep what was found."""
    kept = {name: [asdict(each) for each in found[name]] for name in FAMILIES if name in found}
    VERDICTS.write_text(json.dumps(kept, indent=1) + "\n")


def table(found: Found) -> str:
    """Return the table, and below it what did not run and why."""
    rows = ["| programs | run | same result | vary by themselves | not |", "|---|---:|---:|---:|---:|"]
    lines, varying = [], []
    for name, family in FAMILIES.items():
        if name not in found:
            rows.append(f"| {family.title} | not run yet | | | |")
            continue
        of = {kind: _of(found[name], kind) for kind in (SAME, VARIES, OTHER, REFUSED, NOWHERE)}
        failed = [*of[OTHER], *of[REFUSED]]
        run = len(found[name]) - len(of[NOWHERE])
        rows.append(f"| {family.title} | {run} | {len(of[SAME])} | {len(of[VARIES])} | {len(failed)} |")
        lines += [f"- `{v.name}`: {_cell(v.why)}" for v in failed]
        lines += [f"- `{v.name}`: not with plain Spark here either ({_cell(v.why)})" for v in of[NOWHERE]]
        lines += [f"- `{each}`: not tried: {why}" for each, why in family.not_run.items()]
        varying += [f"`{v.name}`" for v in of[VARIES]]
    parts = ["\n".join(rows)]
    if lines:
        parts += ["Not, or not here:", "\n".join(lines)]
    if varying:
        parts.append(f"These print something else each time, with plain Spark too: {', '.join(varying)}.")
    return "\n\n".join(parts)


def write(text: str) -> None:
    """Put the table into the document."""
    before, _, rest = DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


def _of(verdicts: Sequence[Verdict], kind: str) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.kind == kind]


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")[:400]
