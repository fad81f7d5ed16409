"""Finds quotation marks that RFC 4180 does not allow: Arrow's reader joins `"x"y` to `xy` without a word."""

from __future__ import annotations

import re

_BOM = b"\xef\xbb\xbf"


class Quotes:
    """Checks a CSV file as it is read: a quoted cell ends where its closing quotation mark is.

    A mark within a cell that does not begin with one is a character like any other, to Arrow too.

    Args:
        delimiter: one ASCII character.

    Attributes:
        line: that the check has come to, from 1.
    """

    def __init__(self, delimiter: str) -> None:
        end = rb"[\r\n" + re.escape(delimiter.encode()) + rb"]"
        text, literal = rb'[^"]*', rb"(?<!\A)(?<!" + end + rb')"'
        quoted = rb'"' + text + rb'(?:""' + text + rb')*"(?=' + end
        # More may follow a closing mark at the end of what was read, unless that is the end of the file. Without
        # possessive quantifiers, which Python 3.11.2 gets wrong; a cell matches in one way only: little is tried twice.
        some, every = (rb"(?:" + literal + rb"|" + quoted + last + rb"))" + text for last in (b"", rb"|\Z"))
        self._some = re.compile(text + rb"(?:" + some + rb")*")
        self._all = re.compile(text + rb"(?:" + every + rb")*")
        self._rest, self._at = b"", 0
        self._first = True
        self.line = 1

    def take(self, chunk: bytes) -> int:
        """Check the next bytes; empty ones are the end of the file.

        Returns:
            How many bytes wait for those that follow: an open cell.

        Raises:
            ValueError: what follows a closing quotation mark is neither the cell's end nor a second mark, or the file
                ends within a quoted cell.
        """
        if self._first:
            chunk, self._first = chunk.removeprefix(_BOM), False
        data = self._rest + chunk
        if b'"' not in data:
            self.line += data.count(b"\n", self._at)
            self._rest, self._at = data[-1:], len(data[-1:])
            return 0
        match = (self._some if chunk else self._all).match(data, self._at)
        done = match.end() if match else self._at
        self.line += data.count(b"\n", self._at, done)
        if not chunk and done < len(data):
            raise ValueError("a quotation mark out of place")
        keep = max(done - 1, 0)  # one byte more: what a cell begins after
        self._rest, self._at = data[keep:], done - keep
        return len(data) - done
