"""Shows an examination of evidence: readable in a pipe and in 80 columns, with colour on a terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.text import Text

from confide.attestation.explain.document import (
    Field,
    Flag,
    Group,
    Link,
    State,
    TcbState,
    Validity,
    Verification,
)
from confide.attestation.explain.examine import Examination
from confide.attestation.explain.verdict import Verdict
from confide.cli.output import plain, stdout

_MARKS = {
    State.PASSED: ("ok  ", "green"),
    State.FAILED: ("FAIL", "bold red"),
    State.OPEN: ("-   ", "dim"),
    State.SKIPPED: ("-   ", "dim"),
}
_NAME, _SHORT, _FOLD = 20, 17, 64
_GROUPS_LAST = ("header", "pcrs", "event_log")


def show(result: Examination, verdict: Verdict, *, given: Sequence[str], at: int, hint: str | None) -> None:
    """Print all of an examination, the verdict last.

    Args:
        result: of the evidence.
        verdict: on it.
        given: lines about the file.
        at: Unix seconds that it was verified for.
        hint: what to do about a refusal; None: nothing is known.
    """
    _line(result.name or "evidence that does not read", "bold")
    for line in given:
        _wrapped(line, 2)
    for group in sorted(result.groups, key=lambda group: group.name in _GROUPS_LAST):
        _group(group)
    _links(result.links, at)
    _validity(result.validity)
    if result.tcb is not None:
        _tcb(result.tcb)
    for verification in (*result.verifications, verdict.verification):
        _steps(verification)
    if result.notes:
        _title("Notes")
        for note in result.notes:
            _wrapped(f"- {note}", 2, hang=2)
    _verdict(verdict, at, hint)


def iso(seconds: int) -> str:
    """Return Unix seconds as RFC 3339; as they are, outside the calendar."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(seconds)


def _width() -> int:
    return min(shutil.get_terminal_size().columns, 110) if sys.stdout.isatty() else 80


def _line(text: str = "", style: str = "") -> None:
    stdout.print(Text(plain(text), style))


def _title(text: str) -> None:
    _line()
    _line(text.upper(), "bold cyan")


def _wrapped(text: str, indent: int, *, hang: int = 0, style: str = "") -> None:
    lines = textwrap.wrap(
        plain(text),
        _width(),
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hang),
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines:
        _line(line, style)


def _group(group: Group) -> None:
    _title(group.title)
    for field in group.fields:
        _field(field)
        for flag in field.flags:
            _flag(flag)


def _field(field: Field) -> None:
    value = _value(field.value)
    name = Text(f"  {plain(field.name):<{_NAME}} ", "bold")
    if len(value) < _SHORT and len(field.name) <= _NAME:
        head = f"{value:<{_SHORT}} "
        lines = textwrap.wrap(plain(field.meaning), max(_width() - _NAME - _SHORT - 4, 30)) or [""]
        stdout.print(name + Text(plain(head)) + Text(lines[0], "dim"))
        for line in lines[1:]:
            _line(" " * (_NAME + _SHORT + 4) + line, "dim")
        return
    lines = textwrap.wrap(plain(field.meaning), _width() - _NAME - 3) or [""]
    stdout.print(name + Text(lines[0], "dim"))
    for line in lines[1:]:
        _line(" " * (_NAME + 3) + line, "dim")
    for part in _folded(value):
        _line(f"    {part}")


def _value(value: int | str | bool | None) -> str:
    if value is None:
        return "not stated"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and len(value) >= 24 and not value.strip("0"):
        return f"zeros ({len(value) // 2} bytes)"
    return str(value)


def _folded(value: str) -> list[str]:
    if len(value) <= _width() - 4 or " " in value:
        return [value]
    return [value[at : at + _FOLD] for at in range(0, len(value), _FOLD)]


def _flag(flag: Flag) -> None:
    danger = (flag.set and flag.name in ("DEBUG", "behind")) or (
        not flag.set and flag.name == "SEPT_VE_DISABLE"
    )
    state = "set" if flag.set else "not set"
    text = f"{flag.name} {state}: {flag.meaning}" if flag.name != "behind" else f"behind: {flag.meaning}"
    _wrapped(f"{'!' if danger else '·'} {text}", 6, hang=2, style="red" if danger else "dim")


def _links(links: Iterable[Link], at: int) -> None:
    shown: set[str] = set()
    for link in links:
        if not shown:
            _title("Certificates")
        if link.sha256 in shown:
            continue
        shown.add(link.sha256)
        _line(f"  {link.role}", "bold")
        _wrapped(f"subject  {link.subject}", 4, hang=9)
        _wrapped(f"issuer   {link.issuer}", 4, hang=9)
        dates = f"valid    {iso(link.not_before)} to {iso(link.not_after)}"
        late = not link.not_before <= at <= link.not_after
        _wrapped(f"{dates}{', NOT AT THAT TIME' if late else ''}", 4, style="red" if late else "")
        _line(f"    sha256   {link.sha256}")
        if link.trusted is not None:
            _line(
                "    the root that is trusted" if link.trusted else "    NOT a root that is trusted",
                "green" if link.trusted else "red",
            )


def _validity(parts: Sequence[Validity]) -> None:
    if not parts:
        return
    _title("Collateral")
    for part in parts:
        late = "" if part.valid else ", NOT AT THAT TIME"
        text = f"  {part.name:<{_NAME}} {iso(part.issued)} to {iso(part.expires)}{late}"
        _line(text, "" if part.valid else "red")


def _tcb(tcb: TcbState) -> None:
    _title("Trusted computing base (TCB)")
    if tcb.status:
        words = f"status {tcb.status}"
        words += f", of the level of {iso(tcb.date)[:10]}" if tcb.date is not None else ""
        words += f", by evaluation {tcb.evaluation}" if tcb.evaluation else ""
        _wrapped(words, 2, style="green" if tcb.status == "UpToDate" else "yellow")
    if not tcb.verified:
        _wrapped(
            "read from the collateral to explain a refusal: the evidence was not accepted", 2, style="red"
        )
    for advice in tcb.advice:
        _line(f"  {advice.about}", "bold")
        _wrapped(advice.meaning, 4)
        _wrapped(f"platform: {advice.platform}", 4, hang=2)
        _wrapped(f"policy:   {advice.policy or 'nothing accepts it'}", 4, hang=2)


def _steps(verification: Verification) -> None:
    _title(f"Steps: {verification.evidence}")
    for step in verification.steps:
        mark, style = _MARKS[step.state]
        tail = f" ({step.state})" if step.state in (State.OPEN, State.SKIPPED) else ""
        _wrapped(f"{mark} {step.number:>2}. {step.text}{tail}", 2, hang=9, style=style)
        if step.reason:
            _wrapped(step.reason, 11, style="red")


def _verdict(verdict: Verdict, at: int, hint: str | None) -> None:
    _line()
    if verdict.error is None:
        _line(f"VERIFIED, for {iso(at)}", "bold green")
        return
    _wrapped(f"NOT VERIFIED, for {iso(at)}: {verdict.error}", 0, style="bold red")
    if hint:
        _wrapped(f"hint: {hint}", 0)
