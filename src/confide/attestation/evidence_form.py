"""Base of the forms in which TEEs' attesters send evidence (`primary_evidence` of the KBS protocol)."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BeforeValidator, ValidationError

from confide.attestation.evidence import describe
from confide.document import StrictModel
from confide.errors import EvidenceRefused


def base64_bytes(max_bytes: int) -> BeforeValidator:
    """Decode base64 text within its size; bytes, which JSON has not, are taken as they are."""

    def read(value: object) -> bytes:
        if isinstance(value, str) and len(value) <= (max_bytes + 2) // 3 * 4:
            value = base64.b64decode(value, validate=True)
        if not isinstance(value, bytes) or len(value) > max_bytes:
            raise ValueError(f"not base64 of at most {max_bytes} bytes")
        return value

    return BeforeValidator(read)


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
