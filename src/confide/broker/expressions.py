"""Regular expressions of policies: RE2, whose time is linear in the value.

The operator chooses the value; with a backtracking engine an owner's innocent `(a+)+` would let it stop the broker.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import re2

MAX_PROGRAM_BYTES = 1024 * 1024


def check_expression(text: str) -> str:
    """Return `text` if it is an expression.

    Raises:
        ValueError: it is none, or too large once its repetitions are written out.
    """
    _compiled(text)
    return text


def matches(expression: str, value: str) -> bool:
    """Return whether the whole of `value` matches.

    Raises:
        ValueError: not an expression, or a value that is not Unicode text.
    """
    return _compiled(expression).fullmatch(value) is not None


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_PROGRAM_BYTES
    try:
        return re2.compile(text, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        raise ValueError(reason.decode(errors="replace") if isinstance(reason, bytes) else reason) from None
