"""Reading reports: what stands in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.amd.report import (
    LAYOUT,
    REPORT_BYTES,
    PlatformBit,
    PolicyBit,
    Product,
    SigningKey,
    parse_report,
)
from confide.attestation.layout import printable
from confide.errors import InvalidFormat

NAMES = {
    "version": "version",
    "guest_svn": "guest_svn",
    "vmpl": "vmpl",
    "sigalgo": "signature_algo",
    "family": "family_id",
    "image": "image_id",
    "current_tcb": "current_tcb",
    "report_data": "report_data",
    "measurement": "measurement",
    "host_data": "host_data",
    "reported_tcb": "reported_tcb",
    "committed_tcb": "committed_tcb",
    "launch_tcb": "launch_tcb",
}


def test_a_real_report_is_read(each):
    report, expected = parse_report(each.report), each.expected
    fields = printable(report.fields)
    assert {name: fields[NAMES[name]] for name in NAMES} == {name: expected[name] for name in NAMES}
    assert hex(report.number("policy")) == expected["policy"]
    assert hex(report.number("platform_info")) == expected["platinfo"]
    assert hex(report.number("key_info")) == expected["flags"]
    assert fields["report_id"][:16] == expected["report_id"]
    assert fields["chip_id"][:32] == expected["chip"]
    for part in ("current", "committed"):
        build, minor, major = bytes.fromhex(expected[part[:3]])[:3]
        assert [report.number(f"{part}_{name}") for name in ("build", "minor", "major")] == [
            build,
            minor,
            major,
        ]
    assert (PolicyBit.DEBUG in report.policy) is expected["debug"]
    assert report.signing_key is SigningKey.VCEK
    assert report.product is None
    assert (report.number("key_info"), report.abi) == (0, (0, 0))


def test_the_report_of_an_azure_machine_is_read(azure):
    report = parse_report(azure[0])
    assert (report.number("version"), report.product, report.abi) == (3, Product.MILAN, (0, 31))
    assert report.policy == PolicyBit.ALWAYS_ONE | PolicyBit.SMT
    assert PlatformBit.SMT_EN in report.platform_info


def test_a_signed_report_is_read(machine):
    machine = machine.of(Product.TURIN, SigningKey.VLEK, 5)
    machine.fields |= {"policy": 0x20000 | 0x0137, "launch_mit_vector": 3, "current_mit_vector": 9}
    report = parse_report(machine.report())
    assert (report.product, report.signing_key, report.abi) == (Product.TURIN, SigningKey.VLEK, (1, 0x37))
    assert (report.number("launch_mit_vector"), report.number("current_mit_vector")) == (3, 9)
    tcb = report.tcb("reported_tcb", Product.TURIN)
    assert list(tcb) == ["fmc", "bootloader", "tee", "snp", "microcode"]
    with pytest.raises(InvalidFormat, match="components"):
        report.tcb("reported_tcb", Product.MILAN)


def test_no_field_overlaps_another():
    ends = [field.offset + field.size for field in LAYOUT.fields]
    assert all(end <= field.offset for end, field in zip(ends, LAYOUT.fields[1:], strict=False))
    assert ends[-1] == 0x330
    assert len(LAYOUT.reserved(bytes(REPORT_BYTES))) == 4 + 21 + 1 + 1 + 152 + 368


@given(st.binary(max_size=1200))
def test_any_bytes(data):
    with pytest.raises(InvalidFormat):
        parse_report(data)


@given(st.sampled_from([2, 3, 5]), st.binary(min_size=REPORT_BYTES, max_size=REPORT_BYTES), st.booleans())
def test_any_bytes_behind_a_version(version, data, zero):
    raw = bytearray(data)
    raw[:4] = version.to_bytes(4, "little")
    if zero:
        for start, end in (
            (0x48, 0x50),
            (0x188, 0x1A0),
            (0x1E8, 0x1F0),
            (0x1F8, 0x2A0),
            (0x330, REPORT_BYTES),
        ):
            raw[start:end] = bytes(end - start)
    try:
        report = parse_report(bytes(raw))
    except InvalidFormat:
        return
    assert report.raw == raw
    assert report.report_data == raw[0x50:0x90]
