"""A table of hardened settings of an engine, with the reason of each row.

`fixed` rows hold: a program that sets another value is refused with the setting's name. `default` rows are
ours unless the program says otherwise. `forbidden` names must not be set at all. The JVM enforces the table
(`confide.SettingsTable`), which reaches it through the agent's socket.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from confide.errors import LaunchRefused

REMOTE_SCHEMES = (
    *("hdfs", "webhdfs", "swebhdfs", "s3a", "s3", "s3n", "gs", "abfs", "abfss", "wasb", "wasbs"),
    *("adl", "oss", "cosn", "ftp", "sftp", "http", "https", "har", "viewfs"),
)
"""Schemes of Hadoop's file systems besides `file`; the guard is before each."""


STORES = ("s3a", "s3", "s3n", "gs", "abfs", "abfss", "hdfs")
"""Those of them that the host has at folders of the data root: `s3a://bucket/x` at `s3a/bucket/x`."""


@dataclass(frozen=True)
class Setting:
    """One row.

    Attributes:
        name: of the setting.
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


@dataclass(frozen=True)
class Settings:
    """The whole table.

    Attributes:
        fixed, default, forbidden: rows.
        own: the image's, which are measured and were checked.
        credentials: secrets by the names under which the engine looks them up outside its settings, which it tells
            every function of a program.
    """

    fixed: tuple[Setting, ...]
    default: tuple[Setting, ...]
    forbidden: tuple[Forbidden, ...]
    own: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)

    def values(self) -> dict[str, str]:
        """Return name -> value for the start of the JVM."""
        return {**{row.name: row.value for row in (*self.default, *self.fixed)}, **self.own}

    def check(self, own: Mapping[str, str]) -> None:
        """Return if these settings weaken nothing, as the JVM will find again.

        Raises:
            LaunchRefused: names the first that does, and why.
        """
        fixed = {row.name: row for row in self.fixed}
        for name, value in sorted(own.items()):
            reasons = [rule.reason for rule in self.forbidden if re.fullmatch(rule.name, name)]
            if name in fixed:
                reasons = [] if re.fullmatch(fixed[name].pattern, value) else [fixed[name].reason]
            if reasons:
                raise LaunchRefused(f"{name}={value} would weaken the protection: {reasons[0]}")

    def rules(self) -> dict[str, Any]:
        """Return what the JVM enforces, as JSON values."""
        return {
            "fixed": [{"name": s.name, "accepts": s.pattern, "reason": s.reason} for s in self.fixed],
            "forbidden": [{"name": f.name, "reason": f.reason} for f in self.forbidden],
        }

    def given(self) -> dict[str, Any]:
        """Return what a JVM is given at its start, by the agent's socket alone."""
        credentials = dict(self.credentials)
        return {"properties": self.values(), "settings": self.rules(), "credentials": credentials}
