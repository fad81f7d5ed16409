"""What to do about evidence that was refused: shown after `hint:` by the commands that verify evidence."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from confide.cli.hints import hint_for
from confide.errors import CollateralUnavailable, ConfideError, EvidenceRefused, PlatformRefused

if TYPE_CHECKING:
    from confide.attestation.explain.examine import Examination


def hint_on(error: ConfideError, result: Examination, file: Path) -> str | None:
    """Return what to do about a refusal of evidence in a file."""
    from confide.attestation.explain.verdict import debug_cure, is_of_debug

    if is_of_debug(error, result):
        return debug_cure(result.tee)
    if isinstance(error, CollateralUnavailable):
        words = _how_to_get(result, "EVIDENCE" if str(file) == "-" else shlex.quote(str(file)))
        return f"{words} Without a CRL: --revocation-unchecked." if result.without_crl else words
    if isinstance(error, PlatformRefused) and not getattr(error, "__notes__", []):
        return (
            "[workload.platform] of the policy says what is accepted; docs/attestation.md what each step means and "
            "what it costs to accept more."
        )
    if type(error) is EvidenceRefused:
        return "docs/attestation.md lists the steps, and the usual causes and cures."
    return hint_for(error)


def _how_to_get(result: Examination, evidence: str) -> str:
    """Return how to get what evidence is verified with, and for which time what was given would do."""
    from confide.cli.verify_text import iso

    if result.source is None:
        return f"needed is {result.needed}. Give it with {result.option} FILE. docs/collateral.md says more."
    target = "collateral.json" if result.option == "--collateral" else "certificates.pem"
    source = f" ({result.source})" if result.source else ""
    words = (
        f"`confide collateral fetch {evidence} --output {target}`, here or on a machine that is online{source}, "
        f"gets {result.needed}. Then give {result.option} {target}. docs/collateral.md says more."
    )
    if all(part.valid for part in result.validity):
        return words
    since, until = max(each.issued for each in result.validity), min(each.expires for each in result.validity)
    if since >= until:
        return words
    return f"{words} For evidence of the past: what was given is valid for --at {iso(since)} to {iso(until - 1)}."
