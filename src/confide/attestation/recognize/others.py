"""What a file is that is no evidence, where that is worth knowing: so that a refusal can say what to do with it."""

from __future__ import annotations

import re

from confide.attestation.recognize.encodings import as_text
from confide.certificates import common_name, load_certificate, load_crl
from confide.errors import InvalidFormat

_JWT = re.compile(rb"\s*eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\s*")
_DUMP = re.compile(rb"\s*0{4,16}:?[ \t]+[0-9a-fA-F]{2}[^\n]*\n0{3,15}10:?[ \t]")
_LOG_AT = 32
_TDREPORT_BYTES, _TDREPORT_TYPE = 1024, 0x81
_MAGIC = (
    (b"HCLA", "an HCL report of an Azure VM: without the quote of its TPM it says nothing of the guest"),
    (b"CCEL", "the ACPI table CCEL: the event log itself is /sys/firmware/acpi/tables/data/CCEL"),
    (b"\x1f\x8b", "compressed (gzip): unpack it first"),
    (b"PK\x03\x04", "compressed (zip): unpack it first"),
    (b"\x7fELF", "a program"),
    (
        b"\xffTCG\x80\x18",
        "a TPM's quote alone: without hardware evidence for the TPM's key it proves nothing",
    ),
)


def describe_other(data: bytes) -> str:
    """Return what bytes are that are no evidence; empty where that is not known."""
    for magic, words in _MAGIC:
        if data.startswith(magic):
            return words
    if data[_LOG_AT:].startswith(b"Spec ID Event03"):
        return "an event log: it goes with a TD's quote, as --event-log"
    if len(data) == _TDREPORT_BYTES and data[0] == _TDREPORT_TYPE:
        return "a TDREPORT: only the machine that made it can check it; ask its quoting service for a quote"
    if _DUMP.match(data):
        return (
            "a hex dump with offsets: give the file itself (`xxd -r DUMP > FILE` makes it from a dump of xxd)"
        )
    if _JWT.fullmatch(data):
        return "an attestation token (JWT): a verifier's word, and not evidence itself"
    if as_text(data) is not None:
        return ""
    try:
        return (
            f"a certificate without evidence, of {common_name(load_certificate(data).subject) or 'no name'}"
        )
    except InvalidFormat:
        pass
    try:
        return f"a CRL of {common_name(load_crl(data).issuer) or 'no name'}: collateral, for --collateral"
    except InvalidFormat:
        return ""
