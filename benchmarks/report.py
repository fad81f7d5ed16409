"""What a benchmark hands back: tables and bars as Markdown to paste, and the raw values as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure import Comparison, Interval


@dataclass(frozen=True)
class Bar:
    """A limit that a figure is held against.

    Attributes:
        what: the figure, with its unit.
        measured: its value.
        limit: the bar.
        at_least: the figure must reach the bar; otherwise it must not exceed it.
    """

    what: str
    measured: float
    limit: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the figure is on the right side."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit

    def markdown(self) -> str:
        """Return one line of a list."""
        sign = "≥" if self.at_least else "≤"
        verdict = "met" if self.met else "**missed**"
        return f"- {self.what}: {self.measured:.3g}, bar {sign} {self.limit:g}: {verdict}"


@dataclass(frozen=True)
class Report:
    """The result of one benchmark.

    Attributes:
        title: heading.
        tables: Markdown tables.
        bars: what they are held against.
        notes: how it was measured, and what was not.
        raw: every value measured.
    """

    title: str
    tables: tuple[str, ...]
    bars: tuple[Bar, ...] = ()
    notes: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """Return the whole as a section."""
        parts = [f"### {self.title}", *self.tables]
        if self.bars:
            parts.append("\n".join(bar.markdown() for bar in self.bars))
        return "\n\n".join([*parts, *self.notes]) + "\n"

    def document(self) -> dict[str, Any]:
        """Return the whole as JSON values."""
        bars = [{"what": b.what, "measured": b.measured, "limit": b.limit, "met": b.met} for b in self.bars]
        return {"title": self.title, "bars": bars, "raw": dict(self.raw)}


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: first column left, the others right.

    Raises:
        ValueError: a row of another length.
    """
    if any(len(row) != len(columns) for row in rows):
        raise ValueError("a row has another number of cells than the heading")
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def ratio(comparison: Comparison) -> str:
    """Return a ratio with its interval, as a cell."""
    return interval(comparison.ratio(), comparison.interval())


def interval(value: float, around: Interval) -> str:
    """Return a value with its 95 % interval, as a cell."""
    return f"{value:.3f} [{around.low:.3f}, {around.high:.3f}]"
