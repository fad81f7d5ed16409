"""Kinds of evidence that files hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from confide.attestation.amd.certificates import Certificates
from confide.attestation.azure.evidence import AzureEvidence


@dataclass(frozen=True)
class GivenQuote:
    """An Intel quote, without the zeros that were behind it, and the event log that may come with a TD's."""

    raw: bytes = field(repr=False)
    event_log: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class GivenReport:
    """A SNP report, and the certificates that came with it, which may be none."""

    raw: bytes = field(repr=False)
    certificates: Certificates = field(default_factory=Certificates)


@dataclass(frozen=True)
class GivenAzure:
    """Evidence of an Azure confidential VM."""

    evidence: AzureEvidence


@dataclass(frozen=True)
class GivenRatls:
    """A certificate that carries evidence; DER."""

    der: bytes = field(repr=False)


@dataclass(frozen=True)
class GivenSigstruct:
    """A SIGSTRUCT."""

    raw: bytes = field(repr=False)


Given = GivenQuote | GivenReport | GivenAzure | GivenRatls | GivenSigstruct


@dataclass(frozen=True)
class Recognized:
    """What was recognised; nothing in it is verified.

    Attributes:
        evidence: the kind, and its bytes.
        encoding: how it was written down, in a few words.
        padding: zero bytes that were behind it and were taken off.
        runtime_data: of a whole KBS attestation: what the evidence must bind; None where it came alone.
        additional_evidence: of other devices, as it stood beside the evidence; the report data binds it too.
        notes: what stood beside it and was not looked at.
    """

    evidence: Given
    encoding: str
    padding: int = 0
    runtime_data: Mapping[str, Any] | None = field(default=None, repr=False)
    additional_evidence: str = field(default="", repr=False)
    notes: tuple[str, ...] = ()
