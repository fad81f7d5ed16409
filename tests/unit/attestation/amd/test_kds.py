"""Addresses at AMD's Key Distribution Service."""

from __future__ import annotations

import pytest

from confide.attestation.amd.kds import chain_url, crl_url, vcek_url
from confide.attestation.amd.report import Product, parse_report
from confide.errors import InvalidFormat

MILAN, GENOA, TURIN = Product
ZEN3 = {"bootloader": 3, "tee": 0, "snp": 8, "microcode": 115}
CHIP = bytes(range(64))


def test_the_address_of_a_real_chips_certificate(milan):
    report = parse_report(milan.report)
    url = vcek_url(MILAN, report.octets("chip_id"), report.tcb("reported_tcb", MILAN))
    chip = report.octets("chip_id").hex()
    assert url == f"https://kdsintf.amd.com/vcek/v1/Milan/{chip}?blSPL=3&teeSPL=0&snpSPL=8&ucodeSPL=115"


def test_turin_has_a_short_id_and_one_component_more():
    url = vcek_url(TURIN, bytes(range(1, 9)).ljust(64, b"\0"), {**ZEN3, "fmc": 1})
    assert url == (
        "https://kdsintf.amd.com/vcek/v1/Turin/0102030405060708?fmcSPL=1&blSPL=3&teeSPL=0&snpSPL=8&ucodeSPL=115"
    )


def test_chains_and_crls():
    assert chain_url(GENOA) == "https://kdsintf.amd.com/vcek/v1/Genoa/cert_chain"
    assert chain_url(MILAN, "vlek") == "https://kdsintf.amd.com/vlek/v1/Milan/cert_chain"
    assert crl_url(TURIN) == "https://kdsintf.amd.com/vcek/v1/Turin/crl"
    assert crl_url(TURIN, "vlek") == "https://kdsintf.amd.com/vlek/v1/Turin/crl"


@pytest.mark.parametrize(
    ("product", "chip_id", "tcb"),
    [
        (MILAN, bytes(64), ZEN3),
        (MILAN, b"", ZEN3),
        (MILAN, CHIP[:63], ZEN3),
        (MILAN, CHIP + b"\0", ZEN3),
        (TURIN, CHIP, {**ZEN3, "fmc": 1}),
        (TURIN, CHIP[1:9], {**ZEN3, "fmc": 1}),
        (TURIN, CHIP[1:9].ljust(64, b"\0"), ZEN3),
        (MILAN, CHIP, {**ZEN3, "fmc": 1}),
        (MILAN, CHIP, {}),
        (MILAN, CHIP, {**ZEN3, "snp": 256}),
        (MILAN, CHIP, {**ZEN3, "snp": -1}),
    ],
)
def test_what_has_no_address(product, chip_id, tcb):
    with pytest.raises(InvalidFormat):
        vcek_url(product, chip_id, tcb)


def test_a_mirror_keeps_the_paths():
    mirror = "https://mirror.example/kds"
    assert vcek_url(MILAN, CHIP, ZEN3, mirror).startswith(f"{mirror}/vcek/v1/Milan/00010203")
    assert chain_url(GENOA, base=mirror) == f"{mirror}/vcek/v1/Genoa/cert_chain"
    assert crl_url(MILAN, "vlek", mirror) == f"{mirror}/vlek/v1/Milan/crl"
