"""Evidence of a SNP guest, in the form in which the Confidential Containers attesters send certificates.

The report travels as it came from the firmware, in base64.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import REPORT_BYTES, SigningKey, parse_report
from confide.attestation.evidence_form import EvidenceForm, base64_bytes
from confide.certificates import MAX_CERTIFICATE_BYTES
from confide.document import StrictModel
from confide.errors import EvidenceRefused, InvalidFormat


class NamedCertificate(StrictModel):
    """A certificate that the host passed along.

    Attributes:
        cert_type: what it is said to be; an ASVK goes by `ASK`.
        data: DER; base64 on the wire.
    """

    cert_type: Literal["ARK", "ASK", "VCEK", "VLEK"]
    data: Annotated[bytes, base64_bytes(MAX_CERTIFICATE_BYTES)]


class SnpEvidence(EvidenceForm):
    """A report, and the certificates that came with it.

    Attributes:
        attestation_report: base64 on the wire.
        cert_chain: at most one of each type; may be empty.
    """

    evidence: ClassVar[str] = "SNP report"

    attestation_report: Annotated[bytes, base64_bytes(REPORT_BYTES)]
    cert_chain: Annotated[tuple[NamedCertificate, ...], Field(max_length=4, strict=False)] = ()

    def certificates(self) -> Certificates:
        """Return the certificates that are for this report, which may be none.

        Raises:
            EvidenceRefused: step 1: the report or a certificate does not read, or a type is there twice.
        """
        named: dict[str, bytes] = {certificate.cert_type: certificate.data for certificate in self.cert_chain}
        if len(named) != len(self.cert_chain):
            raise EvidenceRefused("SNP report", 1, "a type of certificate is there twice")
        try:
            key = parse_report(self.attestation_report).signing_key
            return Certificates.named(named, SigningKey.VCEK if key is None else key)
        except InvalidFormat as error:
            raise EvidenceRefused("SNP report", 1, str(error)) from None

    def wire(self) -> dict[str, Any]:
        """Return the evidence as JSON values."""
        return {
            "attestation_report": base64.b64encode(self.attestation_report).decode(),
            "cert_chain": [
                {"cert_type": each.cert_type, "data": base64.b64encode(each.data).decode()}
                for each in self.cert_chain
            ],
        }
