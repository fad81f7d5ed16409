"""Evidence of a TPM 2.0, in the form in which the Confidential Containers attester for TPMs sends it.

Besides its fields there may be `event_log`, which explains the PCRs.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, ClassVar

from pydantic import Field

from confide.attestation.evidence_form import EvidenceForm, base64_bytes
from confide.attestation.tpm.event_log import MAX_LOG_BYTES
from confide.attestation.tpm.quote import MAX_QUOTE_BYTES, PCR_BYTES, PCR_COUNT
from confide.document import StrictModel

MAX_KEY_BYTES = 1024
MAX_SIGNATURE_BYTES = 1024


class TpmQuoteEvidence(StrictModel):
    """A TPM's quote.

    Attributes:
        message: the TPMS_ATTEST that is signed; base64 on the wire.
        signature: a TPMT_SIGNATURE over it; base64 on the wire.
        pcrs: the 24 values of the SHA-256 bank, hex.
    """

    message: Annotated[bytes, base64_bytes(MAX_QUOTE_BYTES)]
    signature: Annotated[bytes, base64_bytes(MAX_SIGNATURE_BYTES)]
    pcrs: Annotated[
        tuple[Annotated[str, Field(pattern=rf"^[0-9a-f]{{{2 * PCR_BYTES}}}$")], ...],
        Field(min_length=PCR_COUNT, max_length=PCR_COUNT, strict=False),
    ]

    def pcr_values(self) -> tuple[bytes, ...]:
        """Return the values of the PCRs."""
        return tuple(map(bytes.fromhex, self.pcrs))


class TpmEvidence(EvidenceForm):
    """Evidence of a TPM.

    Attributes:
        ak_public: the attestation key's public half (DER, SubjectPublicKeyInfo); base64 on the wire.
        tpm_quote: by that key.
        event_log: what the firmware and the kernel say that they extended the PCRs with; base64 on the wire.
    """

    evidence: ClassVar[str] = "TPM evidence"

    ak_public: Annotated[bytes, base64_bytes(MAX_KEY_BYTES)]
    tpm_quote: TpmQuoteEvidence
    event_log: Annotated[bytes, base64_bytes(MAX_LOG_BYTES)] | None = None

    def wire(self) -> dict[str, Any]:
        """Return the evidence as JSON values."""
        quote = self.tpm_quote
        return {
            "ak_public": _encode(self.ak_public),
            "tpm_quote": {
                "message": _encode(quote.message),
                "signature": _encode(quote.signature),
                "pcrs": list(quote.pcrs),
            },
        } | ({} if self.event_log is None else {"event_log": _encode(self.event_log)})


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
