"""Collateral: its form, what it is for, and when."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.claims import Tee
from confide.attestation.intel.collateral import MAX_COLLATERAL_BYTES, Collateral
from confide.errors import InvalidFormat


def refused(document, reason):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(InvalidFormat, match=reason):
        Collateral.from_json(data)


@pytest.fixture(scope="module")
def members(tdx):
    return json.loads(tdx.collateral_json)


def unix(text):
    return int(datetime.fromisoformat(text).timestamp())


def test_what_it_is_for_and_when(each):
    collateral, expected = each.collateral, each.expected
    assert collateral.tee is (Tee.TDX if expected["tee_type"] else Tee.SGX)
    assert (collateral.fmspc, collateral.ca) == (expected["fmspc"], expected["ca"])
    assert (collateral.issued, collateral.expires) == (expected["window_start"], expected["window_end"])
    limits = expected["limits"]
    parts = [(part.issued, part.expires) for part in collateral.parts]
    assert parts == [tuple(map(unix, limits[name])) for name in ("tcb", "qe", "root", "pck")]
    assert collateral.evaluation in (15, 17, 18)


def test_it_is_written_as_it_was_read(each):
    assert json.loads(each.collateral.to_json()) == json.loads(each.collateral_json)
    assert Collateral.from_json(each.collateral.to_json()) == each.collateral


def test_a_chain_of_one_platform_is_dropped(members, tdx):
    with_chain = json.dumps({**members, "pck_certificate_chain": "of another platform"}).encode()
    assert Collateral.from_json(with_chain) == tdx.collateral


def test_members(members):
    for name in members:
        refused({key: value for key, value in members.items() if key != name}, f"{name}: Field required")
        refused({**members, name: None}, name)
        refused({**members, name: 1}, name)
    refused({**members, "more": ""}, "more")
    refused([members], "object")
    refused({**members, "pck_crl": "0"}, "not hex")
    refused({**members, "pck_crl": "30 82"}, "not hex")
    refused({**members, "pck_crl": "zz"}, "not hex")


@pytest.mark.parametrize(
    "data", [b"", b"{", b"\xff", b"[" * 100_000, b"null", b'"text"', b"{}", b"1" * 10_000]
)
def test_rubbish(data):
    refused(data, "collateral")


def test_size(tdx):
    refused(tdx.collateral_json.ljust(MAX_COLLATERAL_BYTES + 1), "at most 1048576")
    Collateral.from_json(tdx.collateral_json.ljust(MAX_COLLATERAL_BYTES))


@pytest.mark.parametrize(
    ("name", "changed", "reason"),
    [
        ("tcb_info", {"id": "SEV"}, "id"),
        ("tcb_info", {"id": "SGX"}, "TCB info of SGX with the QE identity TD_QE"),
        ("tcb_info", {"version": 2}, "version"),
        ("tcb_info", {"version": "3"}, "version"),
        ("tcb_info", {"fmspc": "B0C06F0000"}, "fmspc"),
        ("tcb_info", {"fmspc": 0}, "fmspc"),
        ("tcb_info", {"issueDate": "2025-06-19"}, "issueDate"),
        ("tcb_info", {"issueDate": "2025-06-19T10:16:03+02:00"}, "issueDate"),
        ("tcb_info", {"nextUpdate": "2025-02-30T00:00:00Z"}, "nextUpdate"),
        ("tcb_info", {"nextUpdate": 1}, "nextUpdate"),
        ("tcb_info", {"nextUpdate": "99999-01-01T00:00:00Z"}, "nextUpdate"),
        ("tcb_info", {"tcbEvaluationDataNumber": -1}, "tcbEvaluationDataNumber"),
        ("tcb_info", {"tcbEvaluationDataNumber": True}, "tcbEvaluationDataNumber"),
        ("qe_identity", {"id": "QVE"}, "id"),
        ("qe_identity", {"id": "QE"}, "TCB info of TDX with the QE identity QE"),
        ("qe_identity", {"nextUpdate": None}, "nextUpdate"),
    ],
)
def test_signed_documents(members, name, changed, reason):
    refused({**members, name: json.dumps({**json.loads(members[name]), **changed})}, reason)


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 50_000, "\ud800", "null"])
def test_signed_documents_that_are_none(members, text):
    refused({**members, "tcb_info": text}, "collateral")
    refused({**members, "qe_identity": text}, "collateral")


def test_crls(members):
    refused({**members, "pck_crl": members["root_ca_crl"]}, "not one of Intel's platform or processor CA")
    refused({**members, "pck_crl": members["pck_crl"][:-2]}, "CRL does not read")
    refused({**members, "root_ca_crl": ""}, "CRL does not read")


@given(st.data())
def test_crls_of_broken_der(members, data):
    crl = bytearray.fromhex(members["pck_crl"])
    crl[data.draw(st.integers(0, len(crl) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(InvalidFormat):
        Collateral.from_json(json.dumps({**members, "pck_crl": crl.hex()}).encode())


@given(st.binary(max_size=512))
def test_nothing_but_refusals(data):
    refused(data, "collateral")
