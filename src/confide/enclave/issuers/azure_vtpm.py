"""Evidence of an Azure confidential VM: its virtual TPM's quote, the hardware report that names the TPM's key, and
from the VM's metadata service what endorses that report. Form: `confide.attestation.azure.evidence`.

Source: Azure's "Virtual TPMs in Azure confidential VMs": report in NV index 0x01400001, attestation key at
0x81000003; "Trusted Hardware Identity Management" for the metadata service.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from confide.attestation.azure.evidence import (
    MAX_TD_QUOTE_BYTES,
    MAX_VCEK_BYTES,
    AzureEvidence,
    QuoteEvidence,
    quote_data,
)
from confide.attestation.azure.hcl import HardwareReport, HclReport, read_hcl
from confide.attestation.azure.structures import base64url
from confide.attestation.claims import Tee
from confide.attestation.evidence import describe
from confide.attestation.tpm.quote import has_digest, read_quote
from confide.certificates import load_certificate
from confide.enclave.issuers.kernel_files import asking
from confide.enclave.issuers.tpm_device import TPM, Tpm, open_tpm
from confide.errors import AttestationRefused, InvalidFormat

if TYPE_CHECKING:
    import httpx

HCL_REPORT_INDEX = 0x01400001
ATTESTATION_KEY = 0x81000003
METADATA = "http://169.254.169.254"

TEES = {HardwareReport.SNP: Tee.AZURE_SNP, HardwareReport.TDX: Tee.AZURE_TDX}

_TRIES = 5
_TIMEOUT_S = 20.0
_MAX_ANSWER_BYTES = 64 * 1024


class AzureIssuer:
    """Asks the VM's TPM for quotes.

    Args:
        tee: what the VM must be: `AZURE_SNP` or `AZURE_TDX`.
        tpm: device of the kernel's resource manager.
        metadata: where the metadata service answers; it speaks no TLS, and nothing it says is trusted by anyone.
    """

    def __init__(self, tee: Tee, tpm: Path = TPM, metadata: str = METADATA) -> None:
        self._tee, self._tpm, self._metadata = tee, tpm, metadata

    def issue(self, report_data: bytes) -> Mapping[str, Any]:
        """Return evidence whose quote carries the 48 bytes that are significant in 64 bytes of report data.

        Raises:
            AttestationRefused: no TPM, no report in it, one of other hardware, or PCRs that change all the time;
                for TDX also a metadata service that gives no TD quote.
        """
        with asking("the virtual TPM"), open_tpm(self._tpm) as tpm:
            stored = tpm.read_nv(HCL_REPORT_INDEX)
            report = read_hcl(stored)
            if TEES[report.kind] is not self._tee:
                raise AttestationRefused(
                    f"the virtual TPM holds a report of {TEES[report.kind]}, not of {self._tee}"
                )
            quote = _quote(tpm, quote_data(report_data))
        return AzureEvidence(version=1, hcl_report=stored, tpm_quote=quote, **self._endorsed(report)).wire()

    def _endorsed(self, report: HclReport) -> dict[str, bytes]:
        import httpx  # no other guest has it

        with httpx.Client(base_url=self._metadata, trust_env=False, timeout=_TIMEOUT_S) as client:
            if report.kind is HardwareReport.TDX:
                with asking("the VM's metadata service"):
                    return {"td_quote": _td_quote(client, report.hardware_report)}
            try:
                return {"vcek": _vcek(client)}
            except (OSError, InvalidFormat):
                return {}  # a verifier may have the certificate, or know AMD's service


def open_issuer(tee: str) -> AzureIssuer:
    """Return the issuer for `az-snp-vtpm` or `az-tdx-vtpm`."""
    return AzureIssuer(Tee(tee))


def detect(tpm: Path = TPM) -> Tee | None:
    """Return the TEE whose report the TPM holds, if it is a TPM of Azure's and holds one."""
    try:
        with open_tpm(tpm) as opened:
            return TEES[read_hcl(opened.read_nv(HCL_REPORT_INDEX)).kind]
    except (OSError, InvalidFormat):
        return None


def _quote(tpm: Tpm, data: bytes) -> QuoteEvidence:
    """Return a quote and the values that it summarises: what extends a PCR between the two costs another try."""
    for _ in range(_TRIES):
        signed, pcrs = tpm.quote(ATTESTATION_KEY, data), tpm.read_pcrs()
        if has_digest(pcrs, read_quote(signed.message).pcr_digest):
            try:
                return QuoteEvidence(message=signed.message, signature=signed.signature, pcrs=pcrs)
            except ValidationError as error:
                raise InvalidFormat(f"TPM: {describe(error)}") from None
    raise AttestationRefused(f"the PCRs changed during each of {_TRIES} quotes")


def _vcek(client: httpx.Client) -> bytes:
    """Return the certificate (DER) of the chip's key."""
    pem = _ask(client, "GET", "/metadata/THIM/amd/certification").get("vcekCert")
    if not isinstance(pem, str):
        raise InvalidFormat("metadata: no vcekCert")
    try:
        der = load_certificate(pem.encode(), MAX_VCEK_BYTES).public_bytes(Encoding.DER)
    except InvalidFormat as error:
        raise InvalidFormat(f"metadata: vcekCert: {error}") from None
    return _within(der, MAX_VCEK_BYTES)


def _td_quote(client: httpx.Client, td_report: bytes) -> bytes:
    """Return the quote for a TDREPORT."""
    asked = {"report": base64.urlsafe_b64encode(td_report).rstrip(b"=").decode()}
    text = _ask(client, "POST", "/acc/tdquote", asked).get("quote")
    if not isinstance(text, str):
        raise InvalidFormat("metadata: no quote")
    try:
        quote = base64url(text)
    except ValueError:
        raise InvalidFormat("metadata: the quote is not base64url") from None
    return _within(quote, MAX_TD_QUOTE_BYTES)


def _within(data: bytes, max_bytes: int) -> bytes:
    if len(data) > max_bytes:
        raise InvalidFormat(f"metadata: {len(data)} bytes, at most {max_bytes} are expected")
    return data


def _ask(client: httpx.Client, method: str, path: str, body: dict[str, str] | None = None) -> dict[str, Any]:
    """Return the metadata service's JSON object.

    Raises:
        OSError: it does not answer, or not with 200.
        InvalidFormat: its answer is too large or no JSON object.
    """
    import httpx

    content = b""
    headers = {"Metadata": "true", "Accept-Encoding": "identity"}
    try:
        with client.stream(method, path, json=body, headers=headers) as response:
            if response.status_code != httpx.codes.OK:
                raise OSError(f"status {response.status_code}")
            for part in response.iter_raw():  # nothing unpacks itself here
                content += part
                if len(content) > _MAX_ANSWER_BYTES:
                    raise InvalidFormat(f"metadata: more than {_MAX_ANSWER_BYTES} bytes")
    except httpx.HTTPError as error:
        raise OSError(type(error).__name__) from None
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidFormat("metadata: not JSON") from None
    if not isinstance(answer, dict):
        raise InvalidFormat("metadata: not a JSON object")
    return answer
