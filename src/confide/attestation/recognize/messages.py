"""Evidence in JSON: messages of the KBS protocol, and what the attesters of each TEE put into them.

Forms are those of the Confidential Containers attesters. What they add beside the evidence is named in the notes and
otherwise left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from confide.attestation.amd.certificate_table import CERTIFICATE_TYPES
from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import REPORT_BYTES, SigningKey, parse_report
from confide.attestation.amd.structured import report_of
from confide.attestation.azure.evidence import AzureEvidence
from confide.attestation.azure.unnumbered import read_unnumbered
from confide.attestation.intel.quote import MAX_QUOTE_BYTES, trim_padding
from confide.attestation.recognize.encodings import names_of, octets
from confide.attestation.recognize.endorsements import describe_collateral
from confide.attestation.recognize.kinds import GivenAzure, GivenQuote, GivenReport, Recognized
from confide.errors import EvidenceRefused, InvalidFormat

_TABLE = {str(guid): name for guid, name in CERTIFICATE_TYPES.items()}
_CERTIFICATES = frozenset(_TABLE.values())
_AZURE = {"version", "hcl_report", "tpm_quote", "vcek", "td_quote"}
_AZURE_UNNUMBERED = {"quote", "report", "vcek", "tpm_quote", "hcl_report", "td_quote"}


def recognize_json(value: Mapping[str, Any], accepted: str) -> Recognized:
    """Say what evidence an object of JSON holds.

    Args:
        value: nothing in it is trusted.
        accepted: what a refusal says of what is accepted.

    Raises:
        InvalidFormat: none; or of a form that does not read.
    """
    if "runtime-data" in value or "tee-evidence" in value:
        return _attestation(value, accepted)
    if isinstance(value.get("primary_evidence"), dict):
        return _rest(recognize_json(value["primary_evidence"], accepted), value, {"primary_evidence"})
    if "hcl_report" in value or {"report", "vcek"} <= value.keys():
        return _azure(value)
    if "attestation_report" in value:
        return _report(value)
    if isinstance(value.get("quote"), str | list):
        return _quote(value)
    if "protected" in value and "signature" in value and "payload" in value:
        raise InvalidFormat(
            "evidence of the TEE `simulated`, which protects nothing: only a broker checks it"
        )
    if "ak_public" in value and "tpm_quote" in value:
        raise InvalidFormat(
            "evidence of the TEE `tpm`, whose memory is not confidential: only a broker that enrolled its key checks it"
        )
    if described := describe_collateral(value):
        raise InvalidFormat(
            f"{described}: what evidence is verified with, and not evidence; `confide verify EVIDENCE --collateral "
            "THIS` takes it"
        )
    raise InvalidFormat(
        f"JSON that is no evidence (its members: {', '.join(names_of(dict(value)))}); {accepted}"
    )


def _attestation(value: Mapping[str, Any], accepted: str) -> Recognized:
    runtime, evidence = value.get("runtime-data"), value.get("tee-evidence")
    if not isinstance(runtime, dict) or not isinstance(evidence, dict):
        raise InvalidFormat("an attestation of the KBS protocol without its runtime-data or its tee-evidence")
    if "runtime-data" in evidence or "tee-evidence" in evidence:
        raise InvalidFormat("an attestation inside an attestation")
    inner = recognize_json(evidence, accepted)
    notes = _left(value, {"runtime-data", "tee-evidence"})
    others = evidence.get("additional_evidence")
    return replace(
        inner,
        runtime_data=runtime,
        additional_evidence=others if isinstance(others, str) else "",
        notes=(*inner.notes, *notes),
    )


def _quote(value: Mapping[str, Any]) -> Recognized:
    raw = octets(value["quote"])
    trimmed = trim_padding(raw) if len(raw) <= MAX_QUOTE_BYTES else raw
    log = value.get("cc_eventlog")
    given = GivenQuote(trimmed, octets(log) if log else None)
    return Recognized(given, "JSON", len(raw) - len(trimmed), notes=_left(value, {"quote", "cc_eventlog"}))


def _report(value: Mapping[str, Any]) -> Recognized:
    given = value["attestation_report"]
    raw = report_of(given) if isinstance(given, dict) else octets(given)
    end = REPORT_BYTES if not any(raw[REPORT_BYTES:]) else len(raw)
    report = GivenReport(raw[:end], _certificates(raw[:end], value.get("cert_chain") or []))
    notes = _left(value, {"attestation_report", "cert_chain"})
    return Recognized(report, "JSON", len(raw) - end, notes=notes)


def _certificates(raw: bytes, table: Any) -> Certificates:
    """Read a host's certificate table: `cert_type` is a name or a GUID, what is neither is left out."""
    if not isinstance(table, list) or len(table) > 16:
        raise InvalidFormat("SNP evidence: cert_chain is not a list of certificates")
    named: dict[str, bytes] = {}
    for each in table:
        if not isinstance(each, dict) or "cert_type" not in each or "data" not in each:
            raise InvalidFormat("SNP evidence: cert_chain has an entry without cert_type and data")
        kind = each["cert_type"]
        kind = next(iter(kind.values()), None) if isinstance(kind, dict) else kind
        name = _TABLE.get(kind, kind) if isinstance(kind, str) else None
        if name not in _CERTIFICATES:
            continue
        if name in named:
            raise InvalidFormat(f"SNP evidence: cert_chain has {name} twice")
        named[name] = octets(each["data"])
    try:
        key = parse_report(raw).signing_key
    except InvalidFormat:  # its verifier says so
        key = None
    return Certificates.named(named, SigningKey.VCEK if key is None else key)


def _azure(value: Mapping[str, Any]) -> Recognized:
    numbered = "version" in value
    known = _AZURE if numbered else _AZURE_UNNUMBERED
    given = {name: value[name] for name in known & value.keys()}
    try:
        evidence = AzureEvidence.of(given) if numbered else read_unnumbered(given)
    except EvidenceRefused as error:
        raise InvalidFormat(f"Azure evidence that does not read: {error.reason}") from None
    notes = () if numbered else ("of the form without a number, which says the same as form 1",)
    return Recognized(GivenAzure(evidence), "JSON", notes=(*notes, *_left(value, known)))


def _rest(found: Recognized, value: Mapping[str, Any], known: set[str]) -> Recognized:
    return replace(found, notes=(*found.notes, *_left(value, known)))


def _left(value: Mapping[str, Any], known: set[str]) -> tuple[str, ...]:
    """Return the note of what stands beside the evidence."""
    names = [name for name in names_of(dict(value)) if name not in known]
    left = [name for name in names if value.get(name) not in ("", "{}", {}, [], None)]
    return (f"beside the evidence, not looked at: {', '.join(left)}",) if left else ()
