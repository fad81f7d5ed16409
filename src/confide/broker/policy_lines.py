"""A TOML document with the line of each of its fields, so that faults can be shown where they are.

`tomllib` decides what the document says; the scan for lines only serves the messages, and a strange but
correct layout costs no more than a less exact line.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import Any

from confide.errors import Fault, InvalidPolicy

Path = tuple[str | int, ...]

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\"' -]+?)\s*\]\]?\s*(?:#.*)?")
_FIELD = re.compile(r"\s*(?:\"([^\"]+)\"|'([^']+)'|([A-Za-z0-9_-]+))\s*[=.]")
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


@dataclass(frozen=True)
class Document:
    """What a TOML document says, and on which line each field stands."""

    value: dict[str, Any]
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of the field at `path`, or of the nearest that encloses it."""
        while path:
            if path in self.lines:
                return self.lines[path]
            path = path[:-1]
        return 1


def read_document(toml: bytes, max_bytes: int) -> Document:
    """Parse TOML.

    Raises:
        InvalidPolicy: larger than `max_bytes`, not UTF-8, or not TOML.
    """
    if len(toml) > max_bytes:
        raise _invalid(1, f"{len(toml)} bytes, at most {max_bytes} are allowed")
    try:
        text = toml.decode("utf-8")
        value = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise _invalid(toml[: error.start].count(b"\n") + 1, "not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        position = _POSITION.search(str(error))
        line = int(position[1]) if position and position[1] else text.count("\n") + 1
        raise _invalid(line, f"not TOML: {_POSITION.sub('', str(error))}") from None
    except (RecursionError, ValueError):
        raise _invalid(1, "not TOML that can be read") from None
    return Document(value, _lines(text))


def _invalid(line: int, reason: str) -> InvalidPolicy:
    fault = Fault(line, "document", reason)
    return InvalidPolicy(f"policy cannot be read; {fault}", (fault,))


def _lines(text: str) -> dict[Path, int]:
    lines: dict[Path, int] = {}
    counts: dict[str, int] = {}
    prefix: Path = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.fullmatch(line):
            parts = [part.strip().strip("\"'") for part in header[2].split(".")]
            first = parts[0]
            if header[1] == "[[" and len(parts) == 1:
                counts[first] = counts.get(first, -1) + 1
            index = (counts[first],) if first in counts else ()
            prefix = (first, *index, *parts[1:])
            lines.setdefault(prefix, number)
            lines.setdefault((first,), number)
        elif field := _FIELD.match(line):
            name = field[1] or field[2] or field[3]
            lines.setdefault((*prefix, name), number)
    return lines
