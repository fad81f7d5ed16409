"""The parts of an explanation. As JSON: docs/formats/verify.md, whose names are those of the attributes here."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True)
class Flag:
    """A bit or a few of a field: its name, whether it is set, what that means."""

    name: str
    set: bool
    meaning: str


@dataclass(frozen=True)
class Field:
    """A field of evidence.

    Attributes:
        name: as the layout calls it, and policies where they do.
        value: numbers as they are, bytes in lower-case hex; None where the evidence does not have it.
        meaning: in a few words.
        flags: those that are set, and those that would matter if they were.
    """

    name: str
    value: int | str | bool | None
    meaning: str
    flags: tuple[Flag, ...] = ()


@dataclass(frozen=True)
class Group:
    """Fields that belong together."""

    name: str
    title: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Link:
    """A certificate of a chain.

    Attributes:
        role: what it certifies here.
        subject: RFC 4514.
        issuer: RFC 4514.
        not_before: Unix seconds.
        not_after: Unix seconds.
        serial: hex.
        sha256: of its DER.
        trusted: True: the root that everything leads to; False: a root that is not trusted; None: no root.
    """

    role: str
    subject: str
    issuer: str
    not_before: int
    not_after: int
    serial: str
    sha256: str
    trusted: bool | None = None


@dataclass(frozen=True)
class Validity:
    """Something beside certificates that expires: TCB info, QE identity, a CRL. Times are Unix seconds."""

    name: str
    issued: int
    expires: int
    valid: bool


class State(StrEnum):
    """What became of a step."""

    PASSED = "passed"
    FAILED = "failed"
    OPEN = "not reached"
    SKIPPED = "not asked"


@dataclass(frozen=True)
class Step:
    """A numbered step of a verifier, and what became of it."""

    number: int
    text: str
    state: State
    reason: str = ""


@dataclass(frozen=True)
class Verification:
    """The steps of one verifier."""

    evidence: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Advice:
    """What a status, an advisory or a setting means.

    Attributes:
        about: its name.
        meaning: what it says of the platform.
        platform: what to do there.
        policy: what an owner writes to accept it all the same; empty where nothing accepts it.
    """

    about: str
    meaning: str
    platform: str
    policy: str = ""


@dataclass(frozen=True)
class TcbState:
    """State of the trusted computing base.

    Attributes:
        status: Intel's; empty of AMD.
        date: Unix seconds of the TCB level; None where there is none.
        evaluation: Intel's tcbEvaluationDataNumber; 0 where there is none.
        advisories: that it is open to.
        verified: whether the verifier established it; else it was read from the collateral, to explain a refusal.
        advice: a line for each status, advisory and setting.
    """

    status: str
    date: int | None
    evaluation: int
    advisories: tuple[str, ...]
    verified: bool
    advice: tuple[Advice, ...] = field(default_factory=tuple)
