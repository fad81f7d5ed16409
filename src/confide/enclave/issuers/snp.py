"""SNP reports as evidence, with the certificates that the host passed along.

Source: SEV-ES Guest-Hypervisor Communication Block Standardization, section 4.1.8.1 (SNP Extended Guest Request): the
certificate table is entries of GUID (16 bytes), offset and length (u32, little-endian), ended by zeros.
"""

from __future__ import annotations

import base64
import hmac
import struct
from typing import Any
from uuid import UUID

from confide.attestation.amd.certificate_table import CERTIFICATE_TYPES
from confide.attestation.amd.report import REPORT_BYTES
from confide.errors import AttestationRefused, InvalidFormat

MAX_CERTIFICATE_BYTES = 8 * 1024
_REPORT_DATA_AT = 0x50
_ENTRY = struct.Struct("<16sII")
_MAX_ENTRIES = 16


def snp_evidence(report: bytes, table: bytes, report_data: bytes) -> dict[str, Any]:
    """Return the evidence, after a look at whether the report is the one that was asked for.

    Args:
        report: as the firmware gave it.
        table: certificate table, empty where the host gave none.
        report_data: what was asked for.

    Raises:
        AttestationRefused: it carries other report data, or is no report.
        InvalidFormat: the table is none.
    """
    if len(report) != REPORT_BYTES:
        raise AttestationRefused(f"what was issued has {len(report)} bytes, a SNP report {REPORT_BYTES}")
    carried = report[_REPORT_DATA_AT : _REPORT_DATA_AT + len(report_data)]
    if not hmac.compare_digest(carried, report_data):
        raise AttestationRefused(
            "the report that was issued carries other report data: someone else asked meanwhile"
        )
    chain = [{"cert_type": kind, "data": _base64(der)} for kind, der in certificates(table).items()]
    return {"attestation_report": _base64(report), "cert_chain": chain}


def certificates(table: bytes) -> dict[str, bytes]:
    """Return the certificates (DER) of a table: `VCEK`, `VLEK`, `ASK`, `ARK`; others are left out.

    Raises:
        InvalidFormat: an entry points outside the table or at itself, is there twice or too large, or there is no end.
    """
    found: dict[str, bytes] = {}
    if not table.strip(b"\0"):
        return found
    for index in range(_MAX_ENTRIES):
        if len(table) < (index + 1) * _ENTRY.size:
            raise InvalidFormat("certificate table: truncated")
        guid, offset, length = _ENTRY.unpack_from(table, index * _ENTRY.size)
        if not any(guid):
            return found
        if (
            offset < _ENTRY.size * (index + 1)
            or length > MAX_CERTIFICATE_BYTES
            or offset + length > len(table)
        ):
            raise InvalidFormat("certificate table: an entry points outside it")
        kind = CERTIFICATE_TYPES.get(UUID(bytes=guid))
        if kind in found:
            raise InvalidFormat("certificate table: a certificate is there twice")
        if kind is not None:
            found[kind] = table[offset : offset + length]
    raise InvalidFormat("certificate table: has no end")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
