"""Evidence of hardware as it comes over the KBS protocol, each kind to its vendor's verifier. Pure.

A quote or report must carry the report data of this very attestation before anything is looked up for it: one that was
replayed costs no fetch.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.evidence import SnpEvidence
from confide.attestation.amd.report import parse_report
from confide.attestation.amd.verify import verify_report
from confide.attestation.azure.evidence import AzureEvidence, quote_data
from confide.attestation.azure.hcl import HardwareReport, HclReport
from confide.attestation.azure.verify import Hardware, check_quote, verify_azure
from confide.attestation.claims import Platform, Tee
from confide.attestation.intel.event_log import check_event_log
from confide.attestation.intel.evidence import QuoteEvidence
from confide.attestation.intel.quote import Quote, parse_quote, trim_padding
from confide.attestation.intel.verify import verify_quote
from confide.attestation.trust import HardwareTrust
from confide.errors import AttestationRefused, CollateralUnavailable, EvidenceRefused, InvalidFormat

_AZURE_HARDWARE = {Tee.AZURE_SNP: HardwareReport.SNP, Tee.AZURE_TDX: HardwareReport.TDX}


def verify_intel(
    tee: Tee, evidence: Mapping[str, Any], report_data: bytes, trust: HardwareTrust, now: int
) -> Platform:
    """Return what a quote says.

    Args:
        tee: SGX or TDX, which it must be of.
        evidence: `primary_evidence` of the KBS protocol; nothing in it is trusted.
        report_data: 64 bytes that it must carry.
        trust: what it is anchored to.
        now: Unix seconds.

    Raises:
        AttestationRefused, EvidenceRefused, CollateralUnavailable.
    """
    given = QuoteEvidence.of(evidence)
    quote = parse_quote(given.raw())
    if quote.tee is not tee:
        raise AttestationRefused(f"step 4: a quote of {quote.tee}, in a session of {tee}")
    _check_binding(quote.report_data, report_data)
    platform = _quote(quote, trust, now).platform
    if (log := given.event_log()) is not None:
        check_event_log(log, quote)
    return platform


def verify_amd(
    tee: Tee, evidence: Mapping[str, Any], report_data: bytes, trust: HardwareTrust, now: int
) -> Platform:
    """Return what a SNP report says; arguments and errors are those of `verify_intel`."""
    del tee  # SNP, the only one of AMD's
    snp = SnpEvidence.of(evidence)
    given = snp.certificates()
    _check_binding(parse_report(snp.attestation_report).octets("report_data"), report_data)
    return _report(snp.attestation_report, given, trust, now).platform


def verify_azure_vm(
    tee: Tee, evidence: Mapping[str, Any], report_data: bytes, trust: HardwareTrust, now: int
) -> Platform:
    """Return what an Azure confidential VM says; arguments and errors are those of `verify_intel`."""
    azure, extra_data = AzureEvidence.of(evidence), quote_data(report_data)
    check_quote(azure, extra_data)

    def hardware(hcl: HclReport) -> Hardware:
        if hcl.kind is HardwareReport.TDX:
            if azure.td_quote is None:
                raise EvidenceRefused("Azure evidence", 3, "the TD quote is missing")
            return _quote(parse_quote(trim_padding(azure.td_quote)), trust, now, paravisor=True)
        try:
            given = Certificates.from_der(azure.vcek) if azure.vcek else Certificates()
        except InvalidFormat as error:
            raise EvidenceRefused("Azure evidence", 3, str(error)) from None
        return _report(hcl.hardware_report, given, trust, now)

    return verify_azure(azure, _AZURE_HARDWARE[tee], hardware, extra_data).platform


def _quote(quote: Quote, trust: HardwareTrust, now: int, *, paravisor: bool = False) -> Hardware:
    collateral = trust.endorsements.intel(quote)
    verified = verify_quote(quote.raw, collateral, now, root_der=trust.intel_root, paravisor=paravisor)
    return Hardware(verified.platform, verified.quote.report_data)


def _report(data: bytes, given: Certificates, trust: HardwareTrust, now: int) -> Hardware:
    try:
        report = parse_report(data)
    except InvalidFormat as error:
        raise EvidenceRefused("SNP report", 1, str(error)) from None
    certificates = trust.endorsements.amd(report, given)
    if certificates.crl is None:  # without one `verify_report` checks no revocation
        raise CollateralUnavailable("SNP report: the CRL is missing; get it with `confide collateral fetch`")
    verified = verify_report(data, certificates, now, roots=trust.amd_roots)
    return Hardware(verified.platform, verified.report.octets("report_data"))


def _check_binding(carried: bytes, report_data: bytes) -> None:
    if not hmac.compare_digest(carried, report_data):
        raise AttestationRefused("step 4: the evidence does not carry the report data of this attestation")
