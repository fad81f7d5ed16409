"""Evidence of an SGX enclave under Gramine: the pseudo-files of /dev/attestation.

Source: Gramine's documentation, "Attestation and Secret Provisioning", low-level interface: the 64 bytes written to
`user_report_data` go into the quote that the next opening of `quote` makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confide.attestation.claims import Tee
from confide.enclave.issuers.kernel_files import asking, read_once, write_attribute
from confide.enclave.issuers.quote import MAX_QUOTE_BYTES, quote_evidence
from confide.errors import AttestationRefused

ATTESTATION = Path("/dev/attestation")


class GramineIssuer:
    """Asks Gramine for DCAP quotes.

    Args:
        attestation: folder of the pseudo-files.
    """

    def __init__(self, attestation: Path = ATTESTATION) -> None:
        self._attestation = attestation

    def issue(self, report_data: bytes) -> Mapping[str, Any]:
        """Return a quote that carries 64 bytes of report data.

        Raises:
            AttestationRefused: the manifest asks for no DCAP attestation, or Gramine issues no quote.
        """
        with asking("Gramine"):
            kind = _attestation_type(self._attestation)
            if kind != "dcap":
                raise AttestationRefused(
                    f"Gramine's manifest says sgx.remote_attestation = {kind!r}, not dcap"
                )
            write_attribute(self._attestation / "user_report_data", report_data)
            quote = read_once(self._attestation / "quote", MAX_QUOTE_BYTES)
        return quote_evidence(quote, report_data)


def detect(attestation: Path = ATTESTATION) -> Tee | None:
    """Return SGX where Gramine gives DCAP quotes."""
    try:
        return Tee.SGX if _attestation_type(attestation) == "dcap" else None
    except OSError:
        return None


def _attestation_type(attestation: Path) -> str:
    return read_once(attestation / "attestation_type", 64).decode("ascii", "replace").strip()
