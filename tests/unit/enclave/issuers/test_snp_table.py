"""SNP evidence, and the certificate table that hosts pass along."""

from __future__ import annotations

import base64
import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.enclave.issuers.snp import MAX_CERTIFICATE_BYTES, certificates, snp_evidence
from confide.errors import AttestationRefused, InvalidFormat

VCEK, ASK, ARK = (
    UUID("63da758d-e664-4564-adc5-f4b93be8accd"),
    UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782"),
    UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae"),
)
CRL = UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea")
REPORT_DATA = bytes(range(64))
REPORT = bytes(0x50) + REPORT_DATA + bytes(1184 - 0x90)


def table(*entries, end=True):
    at = 24 * (len(entries) + 1)
    head, body = b"", b""
    for guid, content in entries:
        head += struct.pack("<16sII", guid.bytes, at + len(body), len(content))
        body += content
    return head + bytes(24 if end else 0) + body


def entry(guid, offset, length):
    return struct.pack("<16sII", guid.bytes, offset, length)


def test_certificates_by_their_kind():
    found = certificates(table((VCEK, b"vcek"), (CRL, b"crl"), (ASK, b"ask"), (ARK, b"ark")))
    assert found == {"VCEK": b"vcek", "ASK": b"ask", "ARK": b"ark"}


@pytest.mark.parametrize("empty", [b"", bytes(24), bytes(4096)])
def test_no_certificates(empty):
    assert certificates(empty) == {}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (entry(VCEK, 48, 4), "outside"),
        (entry(VCEK, 24, 4), "outside"),
        (entry(VCEK, 24, 0), "truncated"),
        (entry(VCEK, 0, 24) + bytes(24), "outside"),
        (entry(VCEK, 2**32 - 1, 2) + bytes(24), "outside"),
        (entry(VCEK, 48, 2**32 - 1) + bytes(24), "outside"),
        (table((VCEK, bytes(MAX_CERTIFICATE_BYTES + 1))), "outside"),
        (table((VCEK, b"a"), (VCEK, b"b")), "twice"),
        (table(*[(CRL, b"crl")] * 17), "no end"),
        (b"\1", "truncated"),
        (VCEK.bytes, "truncated"),
    ],
)
def test_another_table(data, reason):
    with pytest.raises(InvalidFormat, match=reason):
        certificates(data)


@given(st.binary(max_size=200))
def test_any_bytes(data):
    try:
        found = certificates(data)
    except InvalidFormat:
        return
    assert all(value in data for value in found.values())


@given(st.dictionaries(st.sampled_from([VCEK, ASK, ARK, CRL]), st.binary(max_size=100)))
def test_what_is_written_is_read(entries):
    found = certificates(table(*entries.items()))
    assert list(found.values()) == [content for guid, content in entries.items() if guid != CRL]


def test_evidence():
    evidence = snp_evidence(REPORT, table((VCEK, b"vcek")), REPORT_DATA)
    assert base64.b64decode(evidence["attestation_report"]) == REPORT
    assert evidence["cert_chain"] == [{"cert_type": "VCEK", "data": base64.b64encode(b"vcek").decode()}]


@pytest.mark.parametrize("size", [0, 1183, 1185])
def test_a_report_of_another_size(size):
    with pytest.raises(AttestationRefused, match="1184"):
        snp_evidence(REPORT.ljust(1200)[:size], b"", REPORT_DATA)


def test_a_report_with_other_report_data():
    with pytest.raises(AttestationRefused, match="someone else asked"):
        snp_evidence(REPORT, b"", REPORT_DATA[::-1])
