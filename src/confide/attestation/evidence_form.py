"""Base of the forms in which TEEs' attesters send evidence (`primary_evidence` of the KBS protocol)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import ValidationError

from confide.attestation.evidence import describe
from confide.document import StrictModel
from confide.errors import EvidenceRefused


class EvidenceForm(StrictModel):
    """A form of evidence.

    Attributes:
        evidence: what refusals call it.
    """

    evidence: ClassVar[str]

    @classmethod
    def of(cls, primary_evidence: Mapping[str, Any]) -> Self:
        """Read evidence; nothing in it is trusted.

        Raises:
            EvidenceRefused: step 1: not of this form, or larger than it may be.
        """
        try:
            return cls.model_validate(dict(primary_evidence))
        except ValidationError as error:
            raise EvidenceRefused(cls.evidence, 1, describe(error)) from None
