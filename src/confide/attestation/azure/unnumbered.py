"""Azure's evidence in the form that attesters sent before it had a number: bytes as lists of numbers.

It is read to be explained, and no attestation of ours takes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import BeforeValidator, Field, ValidationError

from confide.attestation.azure.evidence import (
    MAX_SIGNATURE_BYTES,
    MAX_TD_QUOTE_BYTES,
    MAX_VCEK_BYTES,
    AzureEvidence,
    QuoteEvidence,
)
from confide.attestation.azure.hcl import MAX_HCL_BYTES
from confide.attestation.evidence import describe
from confide.attestation.tpm.quote import MAX_QUOTE_BYTES, PCR_BYTES, PCR_COUNT
from confide.certificates import load_certificate
from confide.document import StrictModel
from confide.errors import EvidenceRefused, InvalidFormat


def _bytes(max_bytes: int) -> BeforeValidator:
    def read(value: object) -> bytes:
        if (
            not isinstance(value, list)
            or len(value) > max_bytes
            or not all(type(each) is int for each in value)
        ):
            raise ValueError(f"not a list of at most {max_bytes} bytes")
        return bytes(value)

    return BeforeValidator(read)


class _Quote(StrictModel):
    message: Annotated[bytes, _bytes(MAX_QUOTE_BYTES)]
    signature: Annotated[bytes, _bytes(MAX_SIGNATURE_BYTES)]
    pcrs: Annotated[
        tuple[Annotated[bytes, _bytes(PCR_BYTES), Field(min_length=PCR_BYTES)], ...],
        Field(min_length=PCR_COUNT, max_length=PCR_COUNT, strict=False),
    ]


class _Snp(StrictModel):
    quote: _Quote
    report: Annotated[bytes, _bytes(MAX_HCL_BYTES)]
    vcek: Annotated[str, Field(max_length=2 * MAX_VCEK_BYTES)]


class _Tdx(StrictModel):
    tpm_quote: _Quote
    hcl_report: Annotated[bytes, _bytes(MAX_HCL_BYTES)]
    td_quote: Annotated[bytes, _bytes(MAX_TD_QUOTE_BYTES)]


def read_unnumbered(evidence: Mapping[str, Any]) -> AzureEvidence:
    """Return evidence of the form without a number as that of form 1, which says the same.

    Raises:
        EvidenceRefused: step 1: not of this form, or larger than it may be.
    """
    try:
        if "td_quote" in evidence:
            tdx = _Tdx.model_validate(dict(evidence))
            return AzureEvidence(
                version=1, hcl_report=tdx.hcl_report, tpm_quote=_quote(tdx.tpm_quote), td_quote=tdx.td_quote
            )
        snp = _Snp.model_validate(dict(evidence))
        vcek = load_certificate(snp.vcek.encode()).public_bytes(Encoding.DER)
        return AzureEvidence(version=1, hcl_report=snp.report, tpm_quote=_quote(snp.quote), vcek=vcek)
    except ValidationError as error:
        raise EvidenceRefused("Azure evidence", 1, describe(error)) from None
    except InvalidFormat as error:
        raise EvidenceRefused("Azure evidence", 1, f"vcek: {error}") from None


def _quote(quote: _Quote) -> QuoteEvidence:
    return QuoteEvidence(message=quote.message, signature=quote.signature, pcrs=quote.pcrs)
