"""What a program printed on either side, and whether that is the same."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass

MARK = "=== "
RELATIVE, ABSOLUTE = 1e-6, 1e-9
"""Sums of floating-point numbers may be taken in another order."""

_NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][-+]?\d+)?")
_LOGGED = re.compile(
    r"\d\d/\d\d/\d\d \d\d:\d\d:\d\d (?:WARN|ERROR|INFO) |WARNING: |Setting (?:default|Spark) log level "
    r"|To adjust logging level "
    r"|Using Spark's default log4j profile|confide: "
)
_NAMES = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "UUID"),
    (re.compile(r"\b([A-Za-z]\w*_)[0-9a-f]{12}\b"), r"\1UID"),
    (re.compile(r"\b0x[0-9a-f]+\b"), "ADDRESS"),
)
"""Names that are made anew in each run."""
_UNREAD = re.compile(
    r"Traceback \(most recent call last\):"
    r"|  File \".*pyspark/daemon\.py\", line \d+, in (?:manager|worker)"
    r"|    code = worker\(sock, authenticated\)|    outfile\.flush\(\)| +\^+"
    r"|(?:BrokenPipe|ConnectionReset)Error: \[Errno \d+\] [A-Za-z ]+"
)
"""What Spark's daemon says where what a worker sends is not read to its end (`show`, `head`): it notices at once over
Unix sockets, which `confide` has it use, and seldom over TCP. Line by line, because two workers may say it at once;
what else is wrong says more than these lines."""
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?|\b[12]\d{9}\b")
"""When a row was read, or a window of such."""
_FRAME = re.compile(r"[-+=]+$|=+\d|Time:|Batch:")


@dataclass(frozen=True)
class Outcome:
    """One run of one program.

    Attributes:
        printed: its output.
        ended: what ended it; None: it finished.
        seconds: how long it took.
    """

    printed: str
    ended: str | None
    seconds: float


def outcomes(output: str) -> dict[str, Outcome]:
    """Return name -> outcome of what `runner.py` printed; a program that the run did not survive is the last one."""
    found: dict[str, Outcome] = {}
    name, lines = None, []
    for line in output.splitlines():
        if not line.startswith(MARK):
            lines.append(line)
        elif name is None:
            name, lines = line.removeprefix(MARK), []
        else:
            end = json.loads(line.removeprefix(MARK))
            found[name] = Outcome("\n".join(lines), end["ended"], end["seconds"])
            name = None
    if name is not None:
        found[name] = Outcome("\n".join(lines), "the run ended with it", 0.0)
    return found


def same(one: str, other: str) -> bool:
    """Return whether two outputs say the same: the same lines, in any order, numbers nearly equal."""
    lines, others = _lines(one), _lines(other)
    if len(lines) != len(others):
        return False
    if all(map(_same_line, lines, others)):
        return True
    return all(map(_same_line, sorted(lines, key=_skeleton_first), sorted(others, key=_skeleton_first)))


def difference(one: str, other: str) -> str:
    """Return the first line on either side that the other side lacks; there is one, unless lines only repeat."""
    lines, others = _lines(one), _lines(other)
    known = {_skeleton(line) for line in lines}
    for line in others:
        if _skeleton(line) not in known:
            return f"new: {line[:200]!r}"
    known = {_skeleton(line) for line in others}
    for line in lines:
        if _skeleton(line) not in known:
            return f"missing: {line[:200]!r}"
    return f"{len(lines)} lines became {len(others)}, or numbers differ"


def settled(printed: str) -> str:
    """Return what a stream printed, whatever batches it was cut into: each line once, without frames and times."""
    lines = (_MOMENT.sub("TIME", line).replace(" ", "") for line in _lines(printed))
    return "\n".join(sorted({line for line in lines if line and not _FRAME.match(line)}))


def _lines(text: str) -> list[str]:
    for pattern, name in _NAMES:
        text = pattern.sub(name, text)
    lines = (line.rstrip() for line in text.splitlines())
    return [line for line in lines if line and not _LOGGED.match(line) and not _UNREAD.fullmatch(line)]


def _skeleton(line: str) -> str:
    return _NUMBER.sub("#", line)


def _skeleton_first(line: str) -> tuple[str, list[float]]:
    return _skeleton(line), [float(number) for number in _NUMBER.findall(line)]


def _same_line(one: str, other: str) -> bool:
    if one == other:
        return True
    if _skeleton(one) != _skeleton(other):
        return False
    numbers = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=RELATIVE, abs_tol=ABSOLUTE) for a, b in numbers)
