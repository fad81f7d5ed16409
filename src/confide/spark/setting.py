"""A row of the hardened settings."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """One row.

    Attributes:
        name: of the Spark setting.
        value: ours.
        reason: what another value would open, as the end of "... would weaken the protection: ".
        accepts: regular expression of the values a program may set; None: only ours.
    """

    name: str
    value: str
    reason: str
    accepts: str | None = None

    @property
    def pattern(self) -> str:
        """The values that pass, as a regular expression that Python and Java read alike."""
        return self.accepts if self.accepts is not None else re.escape(self.value)


@dataclass(frozen=True)
class Forbidden:
    """Settings that must not be set: a regular expression of their whole names, and why."""

    name: str
    reason: str
