"""Verification of an Azure confidential VM: from hardware evidence to the TPM's key, from that to the PCRs.

Pure. The hardware evidence itself is verified by its vendor's verifier: `confide.attestation.vendors` puts the two
together.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace

from confide.attestation.azure.evidence import AzureEvidence
from confide.attestation.azure.hcl import HardwareReport, HclReport, Runtime, read_hcl, read_runtime
from confide.attestation.claims import Platform
from confide.attestation.tpm.quote import TpmQuote, has_digest, read_quote, signed_by
from confide.errors import EvidenceRefused, InvalidFormat

EVIDENCE = "Azure evidence"
_PARAVISOR_VMPL = 0


@dataclass(frozen=True)
class Hardware:
    """Verified hardware evidence.

    Attributes:
        platform: what it says.
        report_data: the 64 bytes that it carries.
    """

    platform: Platform
    report_data: bytes


@dataclass(frozen=True)
class VerifiedAzure:
    """A verified confidential VM.

    Attributes:
        platform: what the hardware says, with `pcr0`..`pcr23` (SHA-256) among the registers.
        runtime: what the paravisor says.
    """

    platform: Platform
    runtime: Runtime


def verify_azure(
    evidence: AzureEvidence,
    kind: HardwareReport,
    verify_hardware: Callable[[HclReport], Hardware],
    extra_data: bytes,
) -> VerifiedAzure:
    """Verify an Azure confidential VM.

    1. The evidence has the form of `AzureEvidence` (there).
    2. The HCL report reads, and holds a hardware report of `kind`.
    3. The vendor's verifier accepts the hardware evidence, in its own steps.
    4. Its report data is the SHA-256 of the runtime JSON, padded with zeros; a SNP report was asked for from VMPL 0,
       where the paravisor runs: from any other the guest could have the hardware sign a key of its own.
    5. The runtime JSON names one RSA key as the TPM's attestation key.
    6. That key signed the quote.
    7. The quote is one of a TPM's, over all 24 PCRs of the SHA-256 bank.
    8. The quote carries `extra_data`, and nothing else.
    9. The PCR values are those that the quote summarises.
    10. In form 2, the runtime JSON's `user-data` is `extra_data` too, padded with zeros.

    Args:
        evidence: nothing in it is trusted.
        kind: hardware that the VM must run on.
        verify_hardware: verifies what goes with an HCL report; whatever it raises passes through.
        extra_data: what makes this evidence fresh: `evidence.quote_data` of the report data.

    Raises:
        EvidenceRefused: names the step.
    """
    try:
        hcl = read_hcl(evidence.hcl_report)
    except InvalidFormat as error:
        raise _refused(2, str(error)) from None
    if hcl.kind is not kind:
        raise _refused(2, f"the HCL report holds a report of {hcl.kind.name}, not of {kind.name}")
    hardware = verify_hardware(hcl)
    expected = hashlib.sha256(hcl.runtime_json).digest().ljust(64, b"\0")
    if not hmac.compare_digest(hardware.report_data, expected):
        raise _refused(4, "the hardware report carries another hash than that of the runtime JSON")
    if hardware.platform.numbers.get("vmpl", _PARAVISOR_VMPL) != _PARAVISOR_VMPL:
        raise _refused(4, "the hardware report was not asked for by the paravisor (VMPL 0)")
    try:
        runtime = read_runtime(hcl.runtime_json)
    except InvalidFormat as error:
        raise _refused(5, str(error)) from None
    _verify_quote(evidence, runtime, extra_data)
    if evidence.version == 2 and not hmac.compare_digest(runtime.user_data, extra_data.ljust(64, b"\0")):
        raise _refused(10, "user-data is not the report data of this attestation")
    pcrs = {f"pcr{index}": value.hex() for index, value in enumerate(evidence.tpm_quote.pcrs)}
    platform = replace(hardware.platform, registers={**hardware.platform.registers, **pcrs})
    return VerifiedAzure(platform, runtime)


def _verify_quote(evidence: AzureEvidence, runtime: Runtime, extra_data: bytes) -> None:
    given = evidence.tpm_quote
    if not signed_by(runtime.attestation_key, given.message, given.signature):
        raise _refused(6, "the quote is not signed by the key that the runtime JSON names")
    quote = check_quote(evidence, extra_data)
    if not has_digest(given.pcrs, quote.pcr_digest):
        raise _refused(9, "the PCR values are not those of the quote")


def check_quote(evidence: AzureEvidence, extra_data: bytes) -> TpmQuote:
    """Take steps 7 and 8 of `verify_azure`, which need nothing but the evidence, and return the quote.

    Raises:
        EvidenceRefused: names the step.
    """
    try:
        quote = read_quote(evidence.tpm_quote.message)
    except InvalidFormat as error:
        raise _refused(7, str(error)) from None
    if not extra_data or not hmac.compare_digest(quote.extra_data, extra_data):
        raise _refused(8, "the quote does not carry the report data of this attestation")
    return quote


def _refused(step: int, reason: str) -> EvidenceRefused:
    return EvidenceRefused(EVIDENCE, step, reason)
