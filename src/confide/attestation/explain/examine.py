"""Verifies evidence and explains it: every field, every certificate, every step, and the state of the TCB.

Pure: recognised evidence, trust and `now` in. The verdict is the verifiers' own; what is added here is words.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from confide.attestation.amd.certificates import Certificates, endorsement_of
from confide.attestation.amd.kds import vcek_url
from confide.attestation.amd.report import PolicyBit, Product, Report, SigningKey, parse_report
from confide.attestation.amd.verify import VerifiedReport, verify_report
from confide.attestation.azure.evidence import AzureEvidence, quote_data
from confide.attestation.azure.hcl import HardwareReport, HclReport, read_hcl, read_runtime
from confide.attestation.azure.verify import EVIDENCE as AZURE_EVIDENCE
from confide.attestation.azure.verify import Hardware, verify_azure
from confide.attestation.claims import Platform, Tee
from confide.attestation.explain import steps
from confide.attestation.explain.amd import endorsement_group, report_groups
from confide.attestation.explain.chain import amd_links, collateral_links, pem_links
from confide.attestation.explain.document import Group, Link, TcbState, Validity, Verification
from confide.attestation.explain.event_log import event_group
from confide.attestation.explain.intel import quote_groups
from confide.attestation.explain.levels import levels
from confide.attestation.explain.others import azure_groups, ratls_group, ratls_link, sigstruct_group
from confide.attestation.explain.tcb import tcb_state
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.event_log import EVIDENCE as LOG_EVIDENCE
from confide.attestation.intel.event_log import check_event_log, parse_event_log
from confide.attestation.intel.quote import Quote, parse_quote, trim_padding, up_to_end
from confide.attestation.intel.sigstruct import EVIDENCE as SIGSTRUCT_EVIDENCE
from confide.attestation.intel.sigstruct import Sigstruct, parse_sigstruct, verify_sigstruct
from confide.attestation.intel.verify import VerifiedQuote, verify_quote
from confide.attestation.intel.verify_collateral import EVIDENCE as COLLATERAL_EVIDENCE
from confide.attestation.intel.verify_collateral import verify_collateral
from confide.attestation.ratls.certificate import EVIDENCE as RATLS_EVIDENCE
from confide.attestation.ratls.certificate import read_certificate
from confide.attestation.ratls.verify import verify_ratls
from confide.attestation.recognize.kinds import (
    GivenAzure,
    GivenQuote,
    GivenRatls,
    GivenReport,
    GivenSigstruct,
    Recognized,
)
from confide.attestation.report_data import documented_report_data, report_data
from confide.attestation.tpm.quote import read_quote
from confide.attestation.trust import HardwareTrust
from confide.errors import (
    AttestationRefused,
    CollateralUnavailable,
    ConfideError,
    EvidenceRefused,
    InvalidFormat,
)

_QUOTES = ("quote", "SGX quote", "TDX quote")
_REPORT = "SNP report"
_Bound = tuple[bytes, ...]


@dataclass
class Examination:
    """What an examination found out. Filled from top to bottom; what a refusal kept from being known stays empty.

    Attributes:
        kind: `quote`, `snp-report`, `azure`, `ra-tls` or `sigstruct`.
        name: for people.
        tee: whose evidence it is; None where it does not read.
        debug: whether it can be inspected from outside; None where that is not known.
        groups: its fields.
        links: certificates.
        validity: what else expires.
        verifications: steps, the outermost verifier first.
        tcb: state of the trusted computing base.
        platform: what it says; only where its verifiers accepted it.
        sigstruct: of a SIGSTRUCT that was verified.
        error: why it is refused; None where its verifiers accepted it.
        notes: what else is worth knowing.
        needed: what evidence of this platform is verified with.
        source: how else to name it than by the evidence; None: nobody publishes it.
        option: by which it is given.
        without_crl: it is of AMD's, and was verified without a CRL.
    """

    kind: str = ""
    name: str = ""
    tee: Tee | None = None
    debug: bool | None = None
    groups: list[Group] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    validity: list[Validity] = field(default_factory=list)
    verifications: list[Verification] = field(default_factory=list)
    tcb: TcbState | None = None
    platform: Platform | None = None
    sigstruct: Sigstruct | None = None
    error: ConfideError | None = None
    notes: list[str] = field(default_factory=list)
    needed: str = "endorsements of the platform"
    source: str | None = ""
    option: str = "--collateral"
    without_crl: bool = False

    @contextmanager
    def steps(
        self,
        evidence: str,
        texts: tuple[str, ...],
        *,
        names: Collection[str] = (),
        nested: int = 1,
        unavailable: Callable[[CollateralUnavailable], int] | None = None,
        unsure: Callable[[EvidenceRefused], Collection[int]] = lambda _: (),
    ) -> Iterator[None]:
        """Record the steps of the verifier that runs inside.

        Args:
            evidence: what it verifies.
            texts: of its steps.
            names: what its own refusals call the evidence.
            nested: step in which other verifiers run.
            unavailable: from missing collateral to the step that misses it; None: the nested one.
            unsure: from a refusal to the steps before it of which nothing is known.
        """
        at = len(self.verifications)
        try:
            yield
        except EvidenceRefused as error:
            own = error.evidence in (names or (evidence,))
            failed, doubtful = (error.step, unsure(error)) if own else (nested, ())
            reason = error.reason if own else f"{error.evidence}, step {error.step}"
            self.verifications.insert(at, steps.verification(evidence, texts, failed, reason, doubtful))
            raise
        except CollateralUnavailable as error:
            failed = nested if unavailable is None else unavailable(error)
            self.verifications.insert(at, steps.verification(evidence, texts, failed, str(error)))
            raise
        self.verifications.insert(at, steps.verification(evidence, texts))


def examine(
    found: Recognized, trust: HardwareTrust, now: int, *, revocation_unchecked: bool = False
) -> Examination:
    """Verify evidence and explain it. Refusals are in what is returned, and are not raised.

    Args:
        found: nothing in it is trusted.
        trust: what it is anchored to.
        now: Unix seconds.
        revocation_unchecked: accept a report of AMD's for which there is no CRL.
    """
    result = Examination(notes=list(found.notes))
    bound = _bound(found, result)
    given = found.evidence
    try:
        if isinstance(given, GivenQuote):
            result.kind = "quote"
            verified = _quote(result, given.raw, trust, now, bound)
            if given.event_log is not None:
                _event_log(result, given.event_log, verified.quote)
            result.platform = verified.platform
        elif isinstance(given, GivenReport):
            result.kind = "snp-report"
            result.platform = _report(result, given, trust, now, bound).platform
        elif isinstance(given, GivenAzure):
            result.kind = "azure"
            result.platform = _azure(result, given.evidence, trust, now, bound)
        elif isinstance(given, GivenRatls):
            result.kind = "ra-tls"
            result.platform = _ratls(result, given, trust, now)
        else:
            result.kind = "sigstruct"
            result.sigstruct = _sigstruct(result, given)
    except ConfideError as error:
        result.error = error
    if result.error is None and result.without_crl and not (revocation_unchecked or result.debug):
        result.platform = None
        result.error = CollateralUnavailable(
            f"{_REPORT}: AMD's CRL is missing, by which it would show whether the key was revoked"
        )
    if result.error is None and isinstance(found.runtime_data, dict) and not bound:
        result.error = AttestationRefused("the runtime data is not JSON with one canonical form")
    return result


def _bound(found: Recognized, result: Examination) -> _Bound:
    """Return the report data that evidence must carry, in one version of the KBS protocol; none: nothing says so."""
    if found.runtime_data is None:
        if not isinstance(found.evidence, GivenRatls | GivenSigstruct):
            result.notes.append(
                "freshness is not checked: nothing here says which report data it should carry; a broker compares it "
                "with its own nonce and the workload's key"
            )
        return ()
    try:
        said = found.runtime_data
        return report_data(said, found.additional_evidence), documented_report_data(said)
    except (InvalidFormat, ValueError, TypeError, OverflowError, RecursionError):
        return ()


def _check_bound(carried: bytes, bound: _Bound) -> None:
    if bound and not any(hmac.compare_digest(carried, each) for each in bound):
        raise AttestationRefused(
            "the evidence does not carry the report data of the runtime data it came with: it was made for another "
            "nonce, key or image, or changed on its way"
        )


# -- Intel


def _quote(
    result: Examination,
    raw: bytes,
    trust: HardwareTrust,
    now: int,
    bound: _Bound = (),
    *,
    paravisor: bool = False,
) -> VerifiedQuote:
    with result.steps("quote", steps.QUOTE, names=_QUOTES, nested=2, unsure=_unsure, unavailable=lambda _: 2):
        try:
            quote = parse_quote(raw)
        except EvidenceRefused:
            with suppress(EvidenceRefused):
                _explain_quote(result, parse_quote(up_to_end(raw)), trust)
                result.notes.append("the fields are those of the quote, without what stands behind its end")
            raise
        _explain_quote(result, quote, trust)
        collateral = trust.endorsements.intel(quote)
        _explain_collateral(result, quote, collateral, trust, now)
        verified = verify_quote(raw, collateral, now, root_der=trust.intel_root, paravisor=paravisor)
        result.tcb = tcb_state(quote.tee, verified.platform.tcb)
    _check_bound(quote.report_data, bound)
    return verified


def _explain_quote(result: Examination, quote: Quote, trust: HardwareTrust) -> None:
    """Say what stands in a quote, and what it is verified with."""
    tee = str(quote.tee).upper()
    result.tee, result.debug = result.tee or quote.tee, quote.debug
    result.name = result.name or f"{tee} quote, version {quote.version} ({quote.body_type})"
    result.groups += quote_groups(quote)
    roots = (hashlib.sha256(trust.intel_root).hexdigest(),)
    result.links += pem_links(quote.pck_chain, roots)
    result.needed = f"Intel's collateral for {tee} on platforms {quote.fmspc}"
    result.source = f"without the evidence: --tee {quote.tee} --fmspc {quote.fmspc} --ca {quote.ca}"


def _event_log(result: Examination, log: bytes, quote: Quote) -> None:
    with suppress(EvidenceRefused):  # its verifier says so
        result.groups.append(event_group(parse_event_log(log)))
    with result.steps(LOG_EVIDENCE, steps.EVENT_LOG):
        check_event_log(log, quote)


def _unsure(error: EvidenceRefused) -> Collection[int]:
    """dcap-qvl looks at revocation and at the quoting enclave's level before the last signatures."""
    early = error.step == 4 and ("certificate" in error.reason or "quoting enclave is older" in error.reason)
    return (3,) if early else ()


def _explain_collateral(
    result: Examination, quote: Quote, collateral: Collateral, trust: HardwareTrust, now: int
) -> None:
    """Say who signed the collateral, what of it is valid, and which TCB level it has for the platform."""
    roots = (hashlib.sha256(trust.intel_root).hexdigest(),)
    result.links += collateral_links(collateral, roots)
    result.validity += [
        Validity(part.name, part.issued, part.expires, part.issued <= now < part.expires)
        for part in collateral.parts
    ]
    try:
        with result.steps(COLLATERAL_EVIDENCE, steps.COLLATERAL, nested=6):
            verify_collateral(collateral, now, root_der=trust.intel_root)
    except (EvidenceRefused, CollateralUnavailable) as error:
        if isinstance(error, EvidenceRefused):
            return  # `verify_quote` refuses it too; what nobody signed explains nothing
    if (collateral.tee, collateral.fmspc) != (quote.tee, quote.fmspc):
        return
    if (compared := levels(quote, collateral)) is not None:
        group, met = compared
        result.groups.append(group)
        if met is not None:
            result.tcb = tcb_state(quote.tee, met, verified=False)


# -- AMD


def _report(
    result: Examination, given: GivenReport, trust: HardwareTrust, now: int, bound: _Bound = ()
) -> VerifiedReport:
    certificates = Certificates()

    def unavailable(error: CollateralUnavailable) -> int:
        if certificates.endorsement is None:
            return 2
        return 4 if "CRL" in str(error) else 3

    with result.steps(_REPORT, steps.REPORT, nested=3, unavailable=unavailable):
        try:
            report = parse_report(given.raw)
        except InvalidFormat as error:
            raise EvidenceRefused(_REPORT, 1, str(error)) from None
        result.tee, result.debug = result.tee or Tee.SNP, PolicyBit.DEBUG in report.policy
        result.name = result.name or f"SEV-SNP report, version {report.number('version')}"
        (result.needed, result.source), result.option = _needed(report), "--certificates"
        certificates = trust.endorsements.amd(report, given.certificates)
        endorsement = None
        if certificates.endorsement is not None:
            with suppress(InvalidFormat):  # its verifier says so
                endorsement = endorsement_of(certificates.endorsement)
        result.groups += report_groups(report, endorsement)
        result.groups += [endorsement_group(endorsement)] if endorsement else []
        result.links += amd_links(certificates, trust.amd_roots)
        if certificates.crl is not None and certificates.crl.next_update_utc is not None:
            issued, expires = certificates.crl.last_update_utc, certificates.crl.next_update_utc
            since, until = int(issued.timestamp()), int(expires.timestamp())
            result.validity.append(Validity("CRL of the root", since, until, since <= now <= until))
        verified = verify_report(given.raw, certificates, now, roots=trust.amd_roots)
        if certificates.crl is None:
            result.without_crl = True
            result.notes.append("revocation is not checked: no CRL was given; a broker always checks it")
        result.tcb = tcb_state(Tee.SNP, verified.platform.tcb)
    _check_bound(report.report_data, bound)
    return verified


def _needed(report: Report) -> tuple[str, str | None]:
    """Return what a report is verified with, and where AMD publishes that; None: nowhere."""
    if report.signing_key is SigningKey.VLEK:
        return (
            "the certificate of the VLEK, which the cloud provider gives to its guests alone",
            None,
        )
    product = report.product or Product.MILAN
    try:
        url = vcek_url(product, report.octets("chip_id"), report.tcb("reported_tcb", product))
    except InvalidFormat:
        return (
            "the certificate of the VCEK, which the host passes on: it hides the chip id from AMD's service",
            None,
        )
    known = "" if report.product else ", or with Genoa for Milan: a report of version 2 does not say which"
    return "the certificate of the VCEK and AMD's CRL", f"the certificate alone: {url}{known}"


# -- Azure


_AZURE_TEES = {HardwareReport.SNP: Tee.AZURE_SNP, HardwareReport.TDX: Tee.AZURE_TDX}


def _azure(
    result: Examination, evidence: AzureEvidence, trust: HardwareTrust, now: int, bound: _Bound
) -> Platform:
    with result.steps(AZURE_EVIDENCE, steps.AZURE, nested=3):
        try:
            hcl = read_hcl(evidence.hcl_report)
        except InvalidFormat as error:
            raise EvidenceRefused(AZURE_EVIDENCE, 2, str(error)) from None
        result.tee = _AZURE_TEES[hcl.kind]
        result.name = f"Azure confidential VM ({hcl.kind.name}), form {evidence.version}"
        runtime = quote = None
        with suppress(InvalidFormat):  # its verifier says so, here and below
            runtime = read_runtime(hcl.runtime_json)
        with suppress(InvalidFormat):
            quote = read_quote(evidence.tpm_quote.message)
        result.groups += azure_groups(evidence, hcl, runtime, quote)
        extra_data = quote.extra_data if quote else b""
        wanted = [quote_data(each) for each in bound]
        if wanted and extra_data not in wanted:
            extra_data = wanted[0]

        def hardware(hcl: HclReport) -> Hardware:
            if hcl.kind is HardwareReport.SNP:
                given = GivenReport(hcl.hardware_report, _vcek(evidence))
                verified = _report(result, given, trust, now)
                return Hardware(verified.platform, verified.report.report_data)
            if evidence.td_quote is None:
                raise EvidenceRefused(AZURE_EVIDENCE, 3, "the TD quote is missing")
            trimmed = trim_padding(evidence.td_quote)
            if len(trimmed) != len(evidence.td_quote):
                result.notes.append(
                    f"{len(evidence.td_quote) - len(trimmed)} zero bytes behind the TD quote were left out"
                )
            quoted = _quote(result, trimmed, trust, now, paravisor=True)
            return Hardware(quoted.platform, quoted.quote.report_data)

        return verify_azure(evidence, hcl.kind, hardware, extra_data).platform


def _vcek(evidence: AzureEvidence) -> Certificates:
    try:
        return Certificates.from_der(evidence.vcek) if evidence.vcek else Certificates()
    except InvalidFormat as error:
        raise EvidenceRefused(AZURE_EVIDENCE, 3, str(error)) from None


# -- Certificates with evidence, SIGSTRUCTs


def _ratls(result: Examination, given: GivenRatls, trust: HardwareTrust, now: int) -> Platform:
    with result.steps(RATLS_EVIDENCE, steps.RATLS, nested=5):
        certificate = read_certificate(given.der)
        result.name = "certificate with evidence (RA-TLS)"
        result.links.append(ratls_link(given.der, certificate))
        result.groups.append(ratls_group(certificate))
        padding = len(certificate.quote) - len(trim_padding(certificate.quote))
        if padding:
            result.notes.append(f"{padding} zero bytes behind the quote in the certificate were left out")

        def evidence(quote: bytes) -> tuple[Platform, bytes]:
            verified = _quote(result, trim_padding(quote), trust, now)
            return verified.platform, verified.quote.report_data

        try:
            return verify_ratls(given.der, now, evidence).platform
        except EvidenceRefused as error:
            if (
                error.evidence == RATLS_EVIDENCE and error.step < 5
            ):  # the quote was not looked at: explain it too
                with suppress(ConfideError):
                    _quote(result, trim_padding(certificate.quote), trust, now)
            raise


def _sigstruct(result: Examination, given: GivenSigstruct) -> Sigstruct:
    with result.steps(SIGSTRUCT_EVIDENCE, steps.SIGSTRUCT):
        result.name, result.tee = "SIGSTRUCT of an SGX enclave", Tee.SGX
        try:
            found = parse_sigstruct(given.raw)
        except InvalidFormat as error:
            raise EvidenceRefused(SIGSTRUCT_EVIDENCE, 1, str(error)) from None
        result.debug = found.debug
        result.groups.append(sigstruct_group(found))
        result.notes.append(
            "no evidence: it says what an enclave will measure, not that one runs anywhere. Whose key signed it, "
            "mrsigner says; nobody vouches for it"
        )
        if found.debug_possible:
            result.notes.append(
                "whoever starts the enclave may choose debug mode: attributes_mask leaves DEBUG open"
            )
        return verify_sigstruct(given.raw)
