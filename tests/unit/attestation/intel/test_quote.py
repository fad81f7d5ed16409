"""Reading quotes: what stands in them, and what is refused before anything is verified."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from confide.attestation.claims import Tee
from confide.attestation.intel.layouts import BODY_TYPES, HEADER, SGX_REPORT
from confide.attestation.intel.quote import MAX_QUOTE_BYTES, parse_quote, trim_padding
from confide.attestation.layout import printable
from confide.errors import EvidenceRefused

NAMES = {
    "mrenclave": "mrenclave",
    "mrsigner": "mrsigner",
    "isvprodid": "isv_prod_id",
    "isvsvn": "isv_svn",
    "attributes": "attributes",
    "report_data": "report_data",
    "tee_tcb_svn": "tee_tcb_svn",
    "mrseam": "mrseam",
    "tdattributes": "td_attributes",
    "xfam": "xfam",
    "mrtd": "mrtd",
    "mrconfigid": "mrconfigid",
}


def refused(data, reason, name=None):
    with pytest.raises(EvidenceRefused, match=reason) as caught:
        parse_quote(data)
    assert caught.value.step == 1
    if name:
        assert caught.value.evidence == name


def put(data, at, number, size):
    return data[:at] + number.to_bytes(size, "little") + data[at + size :]


def test_a_quote_is_read(each):
    quote, expected = parse_quote(each.raw), each.expected
    assert (quote.version, quote.header["tee_type"]) == (expected["version"], expected["tee_type"])
    assert (quote.fmspc, quote.ca, quote.size) == (expected["fmspc"], expected["ca"], len(each.raw))
    body, fields = printable(quote.body), expected["fields"]
    assert quote.debug is fields["debug"]
    assert {NAMES[name]: fields[name] for name in NAMES.keys() & fields.keys()}.items() <= body.items()
    if quote.tee is Tee.TDX:
        assert [body[f"rtmr{index}"] for index in range(4)] == fields["rtmr"]
    assert quote.report_data.hex() == fields["report_data"]
    assert quote.pck_chain.count("-----BEGIN CERTIFICATE-----") == 3
    assert quote.qe_report["isv_prod_id"] == (1 if quote.tee is Tee.SGX else 2)


def test_platforms(sgx, tdx, tdx5, sgx_debug):
    pck = parse_quote(sgx.raw).pck
    assert (pck.ppid.hex(), pck.piid, pck.smt) == ("d04ec06d4e6d92dc90d0ad3cf5ee2ddf", None, None)
    assert (pck.dynamic_platform, pck.cached_keys) == (None, None)
    pck = parse_quote(tdx.raw).pck
    assert pck.piid == bytes.fromhex("07828474603e7019dc930775ffe8cdd2")
    assert (pck.dynamic_platform, pck.cached_keys, pck.smt) == (True, True, True)
    pck = parse_quote(tdx5.raw).pck
    assert (pck.dynamic_platform, pck.cached_keys, pck.smt) == (True, False, True)
    pck = parse_quote(sgx_debug.raw).pck
    assert (pck.dynamic_platform, pck.cached_keys, pck.smt) == (True, False, False)
    assert parse_quote(tdx5.raw).body_type == "TDX 1.5"
    assert parse_quote(tdx.raw).body_type == "TDX 1.0"


def test_no_field_overlaps_another():
    for layout in (HEADER, *(kind.layout for kind in BODY_TYPES.values())):
        ends = [field.offset + field.size for field in layout.fields]
        assert all(end <= field.offset for end, field in zip(ends, layout.fields[1:], strict=False))
        assert ends[-1] <= layout.size
    reserved = {name: len(kind.layout.reserved(bytes(kind.layout.size))) for name, kind in BODY_TYPES.items()}
    assert reserved == {1: 12 + 32 + 32 + 42, 2: 0, 3: 0, 4: 0}
    assert SGX_REPORT.size == 384


def test_zeros_behind_the_end_are_refused_and_can_be_trimmed(tdx):
    assert len(tdx.padded) - len(tdx.raw) == 70  # as quoting services hand them out
    refused(tdx.padded, "70 bytes behind its end, all zero", "TDX quote")
    assert trim_padding(tdx.padded) == tdx.raw == trim_padding(tdx.raw)
    more = tdx.padded[:-1] + b"\1"
    assert trim_padding(more) == more
    refused(more, "70 bytes behind its end, not all zero", "TDX quote")
    refused(tdx.raw + b"\0", "1 bytes behind its end, all zero")


def test_a_truncated_quote(each):
    for size in [*range(64), *range(64, len(each.raw), 37), len(each.raw) - 1]:
        refused(each.raw[:size], "needed|left|beyond")
        assert trim_padding(each.raw[:size]) == each.raw[:size]


def test_sizes_are_bounded_first(sgx):
    refused(bytes(MAX_QUOTE_BYTES + 1), "65537 bytes, at most 65536", "quote")
    refused(sgx.raw.ljust(MAX_QUOTE_BYTES + 1, b"\0"), "at most 65536")
    padded = sgx.raw.ljust(MAX_QUOTE_BYTES + 1, b"\0")
    assert trim_padding(padded) is padded


@pytest.mark.parametrize(
    ("at", "size", "number", "reason"),
    [
        (0, 2, 0, "version 0"),
        (0, 2, 2, "version 2"),
        (0, 2, 6, "version 6"),
        (2, 2, 3, "attestation key of type 3"),
        (2, 2, 0, "attestation key of type 0"),
        (4, 4, 1, "TEE type 0x1"),
        (4, 4, 0x80, "TEE type 0x80"),
        (4, 4, 0x81, "TEE type 0x81 in version 3"),
        (432, 4, 0, "behind its end"),
        (432, 4, 0xFFFFFFFF, "truncated: 4600 bytes"),
        (1012, 2, 33, "certification data"),
        (1046, 2, 1, "certification data of type 1"),
        (1046, 2, 3, "certification data of type 3"),
        (1046, 2, 4, "certification data of type 4"),
        (1046, 2, 6, "certification data of type 6"),
        (1048, 4, 0, "certification data of 0 bytes"),
        (1048, 4, 0xFFFFFFFF, "certification data of 4294967295 bytes"),
    ],
)
def test_what_is_not_known_of_version_3(sgx, at, size, number, reason):
    refused(put(sgx.raw, at, number, size), reason)


@pytest.mark.parametrize(
    ("at", "size", "number", "reason"),
    [
        (4, 4, 0, "body of type 3 in a quote of sgx"),
        (48, 2, 0, "body of type 0"),
        (48, 2, 1, "body of type 1 in a quote of tdx"),
        (48, 2, 2, "body of 648 bytes, 584"),
        (48, 2, 4, "body of 648 bytes, 885"),
        (48, 2, 5, "body of type 5"),
        (50, 4, 584, "body of 584 bytes, 648"),
        (50, 4, 649, "body of 649 bytes, 648"),
        (706 + 128, 2, 5, "certification data of type 5"),
        (706 + 130, 4, 0, "certification data of 0 bytes"),
    ],
)
def test_what_is_not_known_of_version_5(tdx5, at, size, number, reason):
    refused(put(tdx5.raw, at, number, size), reason)


def test_a_chain_that_is_none(tdx):
    at = tdx.raw.index(b"-----BEGIN")
    chain = len(tdx.raw) - at
    for content, reason in [
        (b"", "does not read"),
        (b"\xff", "not PEM"),
        (b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", "does not read"),
    ]:
        data = tdx.raw[:at] + content.ljust(chain, b"\0")
        refused(data, reason, "TDX quote")
    second = tdx.raw.index(b"-----BEGIN", at + 1)
    without = tdx.raw[second:].ljust(chain, b"\0")  # the intermediate CA first
    refused(tdx.raw[:at] + without, "does not read")


@given(st.binary(max_size=2048))
@example(b"")
@example(b"\3\0\2\0" + bytes(2000))
def test_nothing_but_refusals(data):
    with pytest.raises(EvidenceRefused):
        parse_quote(data)
    assert trim_padding(data) == data[: len(trim_padding(data))]


@given(st.data())
def test_nothing_but_refusals_of_broken_quotes(tdx, data):
    raw = bytearray(tdx.raw)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    with suppress(EvidenceRefused):
        parse_quote(bytes(raw))
