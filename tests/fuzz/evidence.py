"""Parsers of evidence and endorsements, each as a function of bytes that raises what the parser says it raises."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from confide.attestation.amd.certificates import Certificates, endorsement_of
from confide.attestation.amd.evidence import SnpEvidence
from confide.attestation.amd.report import Product, Report, parse_report
from confide.attestation.amd.structured import report_of
from confide.attestation.amd.verify import verify_report
from confide.attestation.azure.evidence import AzureEvidence
from confide.attestation.azure.hcl import read_hcl, read_runtime
from confide.attestation.azure.unnumbered import read_unnumbered
from confide.attestation.evidence import Challenge, Request, RuntimeData
from confide.attestation.explain.examine import examine
from confide.attestation.explain.verdict import judge
from confide.attestation.given import GivenEndorsements
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.event_log import parse_event_log, replay
from confide.attestation.intel.evidence import QuoteEvidence
from confide.attestation.intel.pck_chain import check_pck_chain
from confide.attestation.intel.quote import Quote, parse_quote, trim_padding
from confide.attestation.intel.signed_json import signed_member
from confide.attestation.intel.sigstruct import verify_sigstruct
from confide.attestation.intel.verify import verify_quote
from confide.attestation.intel.verify_collateral import verify_collateral
from confide.attestation.layout import printable
from confide.attestation.ratls.certificate import read_certificate
from confide.attestation.ratls.claims import read_claims, read_tagged
from confide.attestation.ratls.verify import check_certificate
from confide.attestation.recognize.endorsements import read_endorsements
from confide.attestation.recognize.recognize import recognize
from confide.attestation.tpm import event_log as pcr_log
from confide.attestation.tpm.evidence import TpmEvidence
from confide.attestation.tpm.quote import read_quote, read_signature
from confide.attestation.tpm.verify import verify_tpm
from confide.attestation.trust import HardwareTrust
from confide.broker.collateral.files import items_in, one_file
from confide.broker.collateral.names import item_named
from confide.certificates import load_certificate, load_crl
from confide.cli.verify import _document as verify_document
from confide.enclave.issuers.snp import certificates as certificate_table
from confide.errors import InvalidFormat
from confide.keys.signing import key_id, private_key_from_raw

from .forms import json_object, message_object, split

NOW = 1_800_000_000
HOST = private_key_from_raw(bytes(range(32)))
HOST_ID = key_id(HOST.public_key())
RUNTIME = RuntimeData.model_validate(
    {
        "nonce": "bm9uY2U=",
        "tee-pubkey": {
            "kty": "EC",
            "crv": "P-256",
            "alg": "ECDH-ES+A256KW",
            "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
            "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
        },
    }
)
"""What evidence must bind; the key is the generator of P-256."""
TRUST = HardwareTrust(GivenEndorsements())


def intel_quote(data: bytes) -> None:
    _use_quote(parse_quote(trim_padding(data)))


def _use_quote(quote: Quote) -> None:
    _ = quote.report_data, quote.debug, quote.size, quote.fmspc, quote.ca
    json.dumps([printable(quote.header), printable(quote.body), printable(quote.qe_report)])
    check_pck_chain(quote)


def intel_verify(data: bytes) -> None:
    """Root (DER), quote and collateral: what stands behind the signatures is reached too."""
    root, quote, document = split(data, 3)
    collateral = Collateral.from_json(document)
    verify_quote(trim_padding(quote), collateral, collateral.issued, root_der=root)


def intel_collateral(data: bytes) -> None:
    root, document = split(data, 2)
    collateral = Collateral.from_json(document)
    _ = collateral.parts, collateral.expires, collateral.evaluation, collateral.to_json()
    verify_collateral(collateral, NOW, root_der=root)


def intel_evidence(data: bytes) -> None:
    evidence = QuoteEvidence.of(message_object(data))
    parse_quote(evidence.raw())


def event_log(data: bytes) -> None:
    events = parse_event_log(data)
    replay(events)
    for event in events:
        _ = event.name, event.proven


def sigstruct(data: bytes) -> None:
    found = verify_sigstruct(data)
    _ = found.date, found.mrsigner, found.debug_possible


def snp_report(data: bytes) -> None:
    _use_report(parse_report(data))


def _use_report(report: Report) -> None:
    _ = report.policy, report.abi, report.platform_info, report.signing_key, report.product
    _ = report.report_data
    for product in Product:
        for name in ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"):
            with suppress(InvalidFormat):
                report.tcb(name, product)


def snp_report_in_json(data: bytes) -> None:
    _use_report(parse_report(report_of(json_object(data))))


def snp_verify(data: bytes) -> None:
    """Report, certificates and CRL (PEM), whose self-issued certificates are trusted."""
    report, bundle = split(data, 2)
    certificates = Certificates.from_pem(bundle)
    roots = [each for each in certificates.chain if each.subject == each.issuer]
    digests = [hashlib.sha256(root.public_bytes(Encoding.DER)).hexdigest() for root in roots]
    verify_report(report, certificates, NOW, roots=dict.fromkeys(Product, (*digests, "")[0]))


def snp_evidence(data: bytes) -> None:
    evidence = SnpEvidence.of(message_object(data))
    certificates = evidence.certificates()
    _ = evidence.wire(), certificates.to_pem()


def snp_certificate(data: bytes) -> None:
    certificate = load_certificate(data)
    endorsement_of(certificate)


def snp_crl(data: bytes) -> None:
    load_crl(data)


def snp_certificate_table(data: bytes) -> None:
    certificate_table(data)


def azure_hcl(data: bytes) -> None:
    read_runtime(read_hcl(data).runtime_json)


def azure_runtime(data: bytes) -> None:
    read_runtime(data)


def azure_tpm_quote(data: bytes) -> None:
    read_quote(data)


def azure_evidence(data: bytes) -> None:
    AzureEvidence.of(message_object(data)).wire()


def azure_unnumbered(data: bytes) -> None:
    read_unnumbered(json_object(data)).wire()


def tpm_evidence(data: bytes) -> None:
    """Evidence whose key is enrolled, whatever it is."""
    given = TpmEvidence.of(message_object(data))
    verify_tpm(given.wire(), bytes(64), lambda _: given.ak_public)


def tpm_signature(data: bytes) -> None:
    read_signature(data)


def pcr_event_log(data: bytes) -> None:
    pcr_log.check_event_log(data, pcr_log.LOG.replay(pcr_log.LOG.parse(data)))


def ratls_certificate(data: bytes) -> None:
    check_certificate(read_certificate(data), NOW)


def ratls_claims(data: bytes) -> None:
    with suppress(InvalidFormat):
        read_tagged(data)
    read_claims(data).name(b"key")


def kbs_request(data: bytes) -> None:
    with suppress(InvalidFormat):
        Challenge.parse(data)
    Request.parse(data).wire()


def verify_command(data: bytes) -> None:
    """All that `confide verify --json` does with a file, and that it can be written down."""
    found = recognize(data)
    result = examine(found, TRUST, NOW)
    verdict = judge(result, bound=found.runtime_data is not None)
    document = verify_document(Path("file"), data, found, result, verdict, [], None, NOW)
    json.dumps(document, ensure_ascii=False, default=str).encode()


def endorsement_files(data: bytes) -> None:
    found = read_endorsements([("file", data)])
    _ = [collateral.to_json() for collateral in found.collaterals]


def collateral_files(data: bytes) -> None:
    """Three files that are put together; empty ones are not there."""
    found = items_in((str(number), each) for number, each in enumerate(split(data, 3)) if each)
    for each in found:
        item_named(each.item.name)
        each.item.read(each.document)
    one_file(found)


def collateral_name(data: bytes) -> None:
    item_named(data.decode(errors="replace"))


def signed_json(data: bytes) -> None:
    signed_member(data, "tcbInfo")
