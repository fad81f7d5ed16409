"""Policies: an owner's document saying which measured workload may use which keys where.

Format: docs/formats/policy.md. The document is TOML; the bytes as written are what the owner signs.
"""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, Field, ValidationError

from confide.attestation.claims import Tee
from confide.attestation.requirements import PlatformRequirements
from confide.broker.expressions import check_expression
from confide.broker.locations import parse_location
from confide.broker.policy_faults import cross_faults, model_faults
from confide.broker.policy_lines import Document, read_document
from confide.broker.release import Access
from confide.data.listing import Format, KeyNameText, OwnerText, TableId
from confide.document import StrictModel
from confide.errors import Fault, InvalidPolicy
from confide.keys.names import KeyName

MAX_POLICY_BYTES = 64 * 1024
MAX_WORKLOADS = 64
MAX_GRANTS = 512
MAX_MEASUREMENTS = 64
MAX_REGEX_CHARS = 1024

_MEASUREMENT = re.compile(r"[0-9a-f]{64}")
_WORKLOAD = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_ROLE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_PARAMETER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


def _matching(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"not {what}")
        return text

    return AfterValidator(check)


def _regex(text: str) -> str:
    try:
        return check_expression(text)
    except ValueError as error:
        raise ValueError(f"not a regular expression (RE2): {error}") from None


def _whole_seconds(value: datetime) -> datetime:
    if value.microsecond:
        raise ValueError("times have whole seconds")
    return value


WorkloadName = Annotated[str, _matching(_WORKLOAD, "a workload's name (a-z, 0-9, '.', '_', '-', at most 64)")]
Role = Annotated[str, _matching(_ROLE, "a role (a-z, 0-9, '-', at most 32)")]
Measurement = Annotated[str, _matching(_MEASUREMENT, "a measurement (64 lower-case hex digits)")]
Parameter = Annotated[str, _matching(_PARAMETER, "a launch parameter's name")]
Regex = Annotated[str, Field(min_length=1, max_length=MAX_REGEX_CHARS), AfterValidator(_regex)]
Time = Annotated[AwareDatetime, AfterValidator(_whole_seconds)]
Column = Annotated[str, Field(min_length=1, max_length=256)]


class Workload(StrictModel):
    """A measured workload that the owner approves.

    Attributes:
        name: by which grants refer to it.
        tee: kind of TEE; `simulated` must be written out like any other.
        role: role of the image in the workload.
        measurements: acceptable measurements of the image.
        minimum_svn: lowest acceptable security version number.
        launch: launch parameter -> regular expression (RE2) that its value must match in full.
        logs: key that the workload's output is sealed under.
        requests: key that requests to the workload are sealed to, of workloads that serve.
        platform: what is demanded of the hardware; there for every TEE but `simulated`, which has none.
    """

    name: WorkloadName
    tee: Annotated[Tee, Field(strict=False)]
    role: Role = "driver"
    measurements: Annotated[
        tuple[Measurement, ...], Field(min_length=1, max_length=MAX_MEASUREMENTS, strict=False)
    ]
    minimum_svn: Annotated[int, Field(ge=0, le=65535)] = 0
    launch: Annotated[dict[Parameter, Regex], Field(max_length=64)] = Field(default_factory=dict)
    logs: KeyNameText | None = None
    requests: KeyNameText | None = None
    platform: PlatformRequirements | None = None


class PolicyGrant(StrictModel):
    """What a workload may do at one location; with a key of another owner, the consent to it.

    Attributes:
        workload: name of one of the policy's workloads.
        location: relative to the data root, or an absolute URI prefix.
        access: `read`, or `write`, which includes reading back.
        format: `table` or `files`.
        key: key of the location.
        columns: column -> key, where columns have keys of their own.
        table: id of the one table that may be read there; None: whichever lies there.
    """

    workload: WorkloadName
    location: Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(parse_location)]
    access: Annotated[Access, Field(strict=False)]
    format: Annotated[Format, Field(strict=False)]
    key: KeyNameText
    columns: Annotated[dict[Column, KeyNameText], Field(max_length=1024)] = Field(default_factory=dict)
    table: TableId | None = None

    @property
    def key_owner(self) -> str:
        """Owner of `key`; another than the policy's makes this grant a consent."""
        return KeyName.parse(self.key).owner


class Policy(StrictModel):
    """An owner's policy.

    Attributes:
        version: of this format, 1.
        owner: who signs it.
        serial: grows with every change.
        not_before: first moment of its validity.
        not_after: first moment after its validity.
        workload: what may run.
        grant: what it may use; empty only where a workload has a key for requests.
    """

    version: Annotated[int, Field(ge=1, le=1)]
    owner: OwnerText
    serial: Annotated[int, Field(ge=1, le=2**53 - 1)]
    not_before: Time
    not_after: Time
    workload: Annotated[tuple[Workload, ...], Field(min_length=1, max_length=MAX_WORKLOADS, strict=False)]
    grant: Annotated[tuple[PolicyGrant, ...], Field(max_length=MAX_GRANTS, strict=False)] = ()

    def valid_at(self, now: int) -> bool:
        """Return whether `now` (Unix seconds) lies within the validity."""
        return self.not_before.timestamp() <= now < self.not_after.timestamp()


@lru_cache(maxsize=256)
def parse_policy(toml: bytes) -> Policy:
    """Parse a policy.

    Raises:
        InvalidPolicy: `faults` lists every fault with its line.
    """
    document = read_document(toml, MAX_POLICY_BYTES)
    policy, faults = _validate(document)
    faults = tuple(sorted({*faults, *cross_faults(document)}, key=lambda fault: (fault.line, fault.field)))
    if policy is None or faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise InvalidPolicy(f"policy has {count}; first: {faults[0]}", faults)
    return policy


def _validate(document: Document) -> tuple[Policy | None, tuple[Fault, ...]]:
    try:
        return Policy.model_validate(document.value), ()
    except ValidationError as error:
        return None, model_faults(document, error)
