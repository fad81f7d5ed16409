"""From a file's bytes to the evidence in it. Size first, then form; nothing is verified here."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from confide.attestation.amd.report import REPORT_BYTES
from confide.attestation.intel.quote import MAX_QUOTE_BYTES, trim_padding
from confide.attestation.intel.sigstruct import HEADER as SIGSTRUCT_HEADER
from confide.attestation.intel.sigstruct import SIGSTRUCT_BYTES
from confide.attestation.ratls.certificate import read_certificate
from confide.attestation.recognize.encodings import (
    MAX_INPUT_BYTES,
    Decoded,
    as_text,
    decode_text,
    octets,
    read_json,
    read_pem,
)
from confide.attestation.recognize.kinds import (
    GivenQuote,
    GivenRatls,
    GivenReport,
    GivenSigstruct,
    Recognized,
)
from confide.attestation.recognize.messages import recognize_json
from confide.attestation.recognize.others import describe_other
from confide.errors import EvidenceRefused, InvalidFormat

ACCEPTED = (
    "accepted are: a quote of SGX (version 3, 4, 5) or TDX (4, 5); a SNP report; a certificate with evidence (RA-TLS: "
    "Gramine, Intel SGX SDK, TCG DICE); evidence or a whole attestation of the KBS protocol as JSON; evidence of an "
    "Azure confidential VM as JSON; a SIGSTRUCT. Each as it is, or in hex, base64, base64url or PEM"
)

_INTEL_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
_QUOTE_VERSIONS = (3, 4, 5)
_REPORT_VERSIONS = range(1, 16)
_RESPONSE_HEADER = bytes(4) + REPORT_BYTES.to_bytes(4, "little") + bytes(24)
_GUEST_POLICY_END = 0x10
_TEE_TYPES = (bytes(4), b"\x81\0\0\0")
_DER_SEQUENCE = 0x30
_C_ARRAY = re.compile(r"\s*\{\s*(0[xX][^{}\"]*)\}\s*;?\s*")


def recognize(data: bytes) -> Recognized:
    """Say what evidence bytes hold.

    1. At most 1 MiB, and something.
    2. Text is decoded: JSON, PEM, hex, base64, base64url; what is encoded again is decoded again, three deep.
    3. What comes out is told by its first bytes and its size. Zeros behind a quote or a report are taken off and
       counted; whatever else stands behind it stays, for its verifier to refuse.

    Args:
        data: nothing in it is trusted.

    Raises:
        InvalidFormat: not evidence; says what was tried, what it is where that is known, and what is accepted.
    """
    if len(data) > MAX_INPUT_BYTES:
        raise InvalidFormat(f"more than {MAX_INPUT_BYTES} bytes, which no evidence has; {ACCEPTED}")
    if not data.strip():
        raise InvalidFormat(f"it is empty; {ACCEPTED}")
    text = as_text(data)
    return _binary(Decoded(data)) if text is None else _text(text, ())


def _text(text: str, encoding: tuple[str, ...]) -> Recognized:
    if (array := _C_ARRAY.fullmatch(text)) is not None:
        text = array[1]
    start = text.lstrip()[:1]
    if start == "{":
        found = recognize_json(_json(text), ACCEPTED)
        return replace(found, encoding=Decoded(b"", (*encoding, "JSON")).described)
    if start in ('"', "["):
        decoded = Decoded(_quoted(_json(text)), (*encoding, "JSON"))
    elif blocks := read_pem(text):
        if len(blocks) > 1:
            raise InvalidFormat(_several(blocks))
        decoded = Decoded(blocks[0].data, (*encoding, f"PEM ({blocks[0].label})"))
    else:
        try:
            decoded = decode_text(text)
        except InvalidFormat as error:
            raise InvalidFormat(
                f"{describe_other(text.encode()) or 'text that is no evidence'}: tried JSON, PEM, hex, base64, "
                f"base64url ({error}); {ACCEPTED}"
            ) from None
        decoded = replace(decoded, encoding=(*encoding, *decoded.encoding))
    inner = as_text(decoded.data)
    if inner is not None and inner.lstrip()[:1] in ("{", '"', "-") and len(decoded.encoding) <= 3:
        return _text(inner, decoded.encoding)
    return _binary(decoded)


def _json(text: str) -> Any:
    try:
        return read_json(text)
    except InvalidFormat as error:
        raise InvalidFormat(f"{error}; {ACCEPTED}") from None


def _quoted(value: Any) -> bytes:
    """Return what a JSON string or array stands for."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "-"):
        return value.encode()
    try:
        return octets(value)
    except InvalidFormat as error:
        raise InvalidFormat(f"JSON that is no evidence: {error}; {ACCEPTED}") from None


def _several(blocks: list[Any]) -> str:
    labels = ", ".join(block.label for block in blocks[:6])
    known = {describe_other(block.data) for block in blocks if block.label == "CERTIFICATE"} - {""}
    what = f" ({'; '.join(sorted(known))})" if known else ""
    return (
        f"{len(blocks)} blocks of PEM ({labels}){what}; one piece of evidence is looked at, and a certificate with "
        "evidence comes alone. Certificates and CRLs that evidence is verified with go to --certificates, --collateral"
    )


def _binary(decoded: Decoded) -> Recognized:
    data = decoded.data
    if _is_quote(data):
        trimmed = trim_padding(data) if len(data) <= MAX_QUOTE_BYTES else data
        return _recognized(GivenQuote(trimmed), decoded, len(data) - len(trimmed))
    if data.startswith(_RESPONSE_HEADER) and len(data) >= 32 + REPORT_BYTES:
        return _binary(replace(decoded, data=data[32:], encoding=(*decoded.encoding, "firmware response")))
    if _is_report(data):
        end = REPORT_BYTES if not any(data[REPORT_BYTES:]) else len(data)
        return _recognized(GivenReport(data[:end]), decoded, len(data) - end)
    if data.startswith(SIGSTRUCT_HEADER) and len(data) >= SIGSTRUCT_BYTES:
        return _recognized(GivenSigstruct(data), decoded, 0)
    if data[:1] == bytes([_DER_SEQUENCE]):
        return _recognized(_certificate(data), decoded, 0)
    other = describe_other(data) or _cut(data) or f"{len(data)} bytes that are no evidence"
    raise InvalidFormat(
        f"{other} (read as {decoded.described}): tried quote, SNP report, SIGSTRUCT, certificate; {ACCEPTED}"
    )


def _recognized(evidence: Any, decoded: Decoded, padding: int) -> Recognized:
    return Recognized(evidence, decoded.described, padding)


def _is_quote(data: bytes) -> bool:
    """Tell a quote by version and vendor, or by version and kind of key: one that was cut or changed is one still."""
    if len(data) < 48:
        return False
    version, key_type = int.from_bytes(data[:2], "little"), int.from_bytes(data[2:4], "little")
    vendor = data[12:28] == _INTEL_VENDOR
    return vendor or (version in _QUOTE_VERSIONS and key_type in (2, 3) and data[4:8] in _TEE_TYPES)


def _is_report(data: bytes) -> bool:
    """Tell a report by its version and the bit of its policy that is always one."""
    if len(data) < REPORT_BYTES or int.from_bytes(data[:4], "little") not in _REPORT_VERSIONS:
        return False
    return bool(data[10] & 0x02)


def _cut(data: bytes) -> str:
    """Return what a file may be the beginning of; empty where nothing says so."""
    if len(data) >= len(SIGSTRUCT_HEADER) and data.startswith(SIGSTRUCT_HEADER):
        return f"a SIGSTRUCT of {SIGSTRUCT_BYTES} bytes that was cut to {len(data)}"
    if _is_report(data.ljust(REPORT_BYTES, b"\0")) and len(data) > _GUEST_POLICY_END:
        return f"perhaps a SNP report of {REPORT_BYTES} bytes that was cut to {len(data)}"
    return ""


def _certificate(der: bytes) -> GivenRatls:
    try:
        read_certificate(der)
    except EvidenceRefused as error:
        if other := describe_other(der):
            raise InvalidFormat(f"{other}; {ACCEPTED}") from None
        raise InvalidFormat(f"tried certificate with evidence ({error.reason}); {ACCEPTED}") from None
    return GivenRatls(der)
