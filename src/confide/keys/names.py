"""Names of keys: `owner/name`, and `owner/name:version` for one version of a key."""

from __future__ import annotations

import re
from dataclasses import dataclass

from confide.errors import Misuse

_PART = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
_OWNER = re.compile(_PART)
_NAME = re.compile(rf"({_PART})/({_PART})")
_VERSIONED = re.compile(rf"({_PART})/({_PART}):([1-9][0-9]{{0,8}})")


def parse_owner(text: str) -> str:
    """Return `text` if it is an owner's name: 1-64 of `a-z 0-9 . _ -`, first and last a letter or digit.

    Raises:
        Misuse: otherwise.
    """
    if not _OWNER.fullmatch(text):
        raise Misuse(f"not an owner's name: {text!r} (1-64 of a-z, 0-9, '.', '_', '-')")
    return text


@dataclass(frozen=True, order=True)
class KeyName:
    """The name of one owner's key."""

    owner: str
    name: str

    @classmethod
    def parse(cls, text: str) -> KeyName:
        """Parse `owner/name`.

        Raises:
            Misuse: if `text` is not of that form.
        """
        match = _NAME.fullmatch(text)
        if not match:
            raise Misuse(f"not a key name: {text!r} (expected owner/name, each of a-z, 0-9, '.', '_', '-')")
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, order=True)
class KeyVersion:
    """One version of a key; versions count from 1."""

    key: KeyName
    version: int

    @classmethod
    def parse(cls, text: str) -> KeyVersion:
        """Parse `owner/name:version`.

        Raises:
            Misuse: if `text` is not of that form.
        """
        match = _VERSIONED.fullmatch(text)
        if not match:
            raise Misuse(f"not a key version: {text!r} (expected owner/name:version)")
        return cls(KeyName(match[1], match[2]), int(match[3]))

    def __str__(self) -> str:
        return f"{self.key}:{self.version}"
