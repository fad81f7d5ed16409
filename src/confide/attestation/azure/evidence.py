"""Evidence of an Azure confidential VM, in the form in which the Confidential Containers attesters send it.

Forms 1 and 2 differ in one thing: in form 2 the guest had the report data put into the HCL report too. The unnumbered
form before them is refused.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from confide.attestation.azure.hcl import MAX_HCL_BYTES
from confide.attestation.azure.structures import base64url
from confide.attestation.evidence_form import EvidenceForm
from confide.attestation.report_data import REPORT_DATA_BYTES
from confide.attestation.tpm.quote import MAX_QUOTE_BYTES, PCR_BYTES, PCR_COUNT
from confide.document import StrictModel
from confide.errors import InvalidFormat

MAX_VCEK_BYTES = 4 * 1024
MAX_TD_QUOTE_BYTES = 16 * 1024
MAX_SIGNATURE_BYTES = 512
QUOTE_DATA_BYTES = 48  # TPMs take at least the longest digest and two bytes more, but need not take 64


def quote_data(report_data: bytes) -> bytes:
    """Return what a TPM's quote carries of the KBS protocol's report data: the SHA-384, without the zeros behind it.

    Raises:
        InvalidFormat: not 48 bytes with 16 zeros behind them.
    """
    digest, padding = report_data[:QUOTE_DATA_BYTES], report_data[QUOTE_DATA_BYTES:]
    if padding != bytes(REPORT_DATA_BYTES - QUOTE_DATA_BYTES):
        raise InvalidFormat(
            f"report data: not {QUOTE_DATA_BYTES} bytes padded with zeros to {REPORT_DATA_BYTES}"
        )
    return digest


def _bytes(form: str, decode: Callable[[str], bytes], max_characters: int, max_bytes: int) -> BeforeValidator:
    """Decode text within its size; bytes, which JSON has not, are taken as they are."""

    def read(value: object) -> bytes:
        if isinstance(value, str) and len(value) <= max_characters:
            value = decode(value)
        if not isinstance(value, bytes) or len(value) > max_bytes:
            raise ValueError(f"not {form} of at most {max_bytes} bytes")
        return value

    return BeforeValidator(read)


def _base64url(max_bytes: int) -> BeforeValidator:
    return _bytes("base64url", base64url, (max_bytes + 2) // 3 * 4, max_bytes)


def _hex(max_bytes: int) -> BeforeValidator:
    return _bytes("hex", bytes.fromhex, 2 * max_bytes, max_bytes)


class QuoteEvidence(StrictModel):
    """A TPM's quote.

    Attributes:
        message: the TPMS_ATTEST that is signed; hex on the wire.
        signature: RSASSA-PKCS1-v1_5 with SHA-256; hex on the wire.
        pcrs: the 24 values of the SHA-256 bank, 32 bytes each; hex on the wire.
    """

    message: Annotated[bytes, _hex(MAX_QUOTE_BYTES)]
    signature: Annotated[bytes, _hex(MAX_SIGNATURE_BYTES)]
    pcrs: Annotated[
        tuple[Annotated[bytes, _hex(PCR_BYTES), Field(min_length=PCR_BYTES)], ...],
        Field(min_length=PCR_COUNT, max_length=PCR_COUNT, strict=False),
    ]


class AzureEvidence(EvidenceForm):
    """Evidence of either kind of VM: exactly one of `vcek` and `td_quote` is there.

    Attributes:
        version: of the form, 1 or 2.
        hcl_report: as read from the TPM; base64url on the wire.
        tpm_quote: quote by the key that the HCL report names.
        vcek: SNP: certificate (DER) of the key that signed the hardware report; base64url on the wire.
        td_quote: TDX: quote for the TDREPORT in the HCL report; base64url on the wire.
    """

    evidence: ClassVar[str] = "Azure evidence"

    version: Annotated[int, Field(ge=1, le=2)]
    hcl_report: Annotated[bytes, _base64url(MAX_HCL_BYTES)]
    tpm_quote: QuoteEvidence
    vcek: Annotated[bytes, _base64url(MAX_VCEK_BYTES)] | None = None
    td_quote: Annotated[bytes, _base64url(MAX_TD_QUOTE_BYTES)] | None = None

    def wire(self) -> dict[str, Any]:
        """Return the evidence as JSON values."""
        quote = self.tpm_quote
        hardware = {"vcek": self.vcek, "td_quote": self.td_quote}
        return {
            "version": self.version,
            "hcl_report": _encode(self.hcl_report),
            "tpm_quote": {
                "message": quote.message.hex(),
                "signature": quote.signature.hex(),
                "pcrs": [value.hex() for value in quote.pcrs],
            },
        } | {name: _encode(value) for name, value in hardware.items() if value is not None}


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode()
