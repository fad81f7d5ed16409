"""Certificates of SNP machines over HTTPS, from a server that speaks AMD's KDS and misbehaves."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Product, SigningKey, parse_report
from confide.attestation.amd.verify import verify_report
from confide.broker.collateral.item import Roots
from confide.broker.collateral.sources import OFFLINE
from confide.errors import CollateralUnavailable, EvidenceRefused

from ...unit.attestation.amd.synthetic import DAY, NOW, Authority, Machine
from .publisher import Answer

NONE = Certificates()
CHAIN, CRL = "/vcek/v1/Milan/cert_chain", "/vcek/v1/Milan/crl"


@pytest.fixture
def published(server, machine, amd_authority):
    server.publish_amd(machine, amd_authority.crl(Product.MILAN))
    server.publish_chip(machine)
    return server


def report(machine):
    return parse_report(machine.report())


def refused(site, machine, reason, given=NONE, kept=0):
    with pytest.raises(CollateralUnavailable, match=reason) as caught:
        site.endorsements().amd(report(machine), given)
    assert len(site.store.collaterals()) == kept
    return str(caught.value)


def without_crl(machine):
    """What a host passes along."""
    return Certificates(machine.endorsement(), (machine.intermediate, machine.root))


def test_certificates_and_crl_are_fetched_verified_and_kept(site, published, machine):
    found = site.endorsements().amd(report(machine), NONE)
    machine.verify(certificates=found)
    assert found.crl is not None
    assert [each.name.split("/")[:3] for each in site.store.collaterals()] == [["amd", "Milan", "vcek"]] * 2
    published.asked.clear()
    assert site.endorsements().amd(report(machine), NONE) == found
    assert published.asked == []


@pytest.mark.parametrize("product", list(Product))
def test_every_product(site, server, amd_authority, product):
    machine = Machine(amd_authority, product)
    server.publish_amd(machine, amd_authority.crl(product))
    server.publish_chip(machine)
    roots = Roots(site.roots.intel, machine.roots())
    found = dataclasses.replace(site, roots=roots).endorsements().amd(report(machine), NONE)
    verify_report(machine.report(), found, NOW, roots=machine.roots())


def test_a_vlek_comes_with_the_report_and_has_a_crl_of_its_own(site, server, amd_authority):
    machine = Machine(amd_authority, Product.MILAN, SigningKey.VLEK)
    server.publish_amd(machine, amd_authority.crl(Product.MILAN), "vlek")
    found = site.endorsements().amd(report(machine), without_crl(machine))
    machine.verify(certificates=found)
    assert found.crl is not None
    assert sorted(server.asked) == ["/vlek/v1/Milan/cert_chain", "/vlek/v1/Milan/crl"]


def test_a_vlek_that_did_not_come(site, published, amd_authority):
    machine = Machine(amd_authority, Product.MILAN, SigningKey.VLEK)
    message = refused(site, machine, "certificate of the VLEK that signed it did not come")
    assert "have the host pass its certificates on to guests" in message
    assert published.asked == []


def test_a_given_certificate_needs_the_crl_only(site, published, machine):
    found = site.endorsements().amd(report(machine), without_crl(machine))
    machine.verify(certificates=found)
    assert sorted(published.asked) == [CHAIN, CRL]


def test_a_certificate_given_without_its_chain(site, published, machine):
    machine.verify(certificates=site.endorsements().amd(report(machine), Certificates(machine.endorsement())))


def test_a_crl_is_not_taken_from_whoever_gives_the_report(site, published, machine, amd_authority):
    given = dataclasses.replace(
        without_crl(machine), crl=amd_authority.crl(Product.MILAN, last=NOW - 2000 * DAY)
    )
    found = site.endorsements().amd(report(machine), given)
    assert found.crl is not None
    assert found.crl.last_update_utc != given.crl.last_update_utc


def test_offline_without_a_crl_is_refused(site, machine):
    offline = dataclasses.replace(site, sources=OFFLINE)
    message = refused(
        offline, machine, "no CRL of AMD's Milan root over VCEKs is kept here", without_crl(machine)
    )
    assert "`confide collateral fetch --product Milan --output FILE`" in message
    assert "`confide collateral import FILE`" in message


def test_offline_without_a_certificate_is_refused(site, machine):
    offline = dataclasses.replace(site, sources=OFFLINE)
    message = refused(offline, machine, "no VCEK certificate of the Milan chip 0102030405060708")
    assert f"--product Milan --chip {machine.hardware_id.hex()} --tcb 3.0.8.200 --output FILE" in message


def test_chips_that_are_made_up_leave_crls_theirs(site, published, machine):
    endorsements = site.endorsements(burst=3)
    before = dict(machine.fields)
    for number in range(5):
        machine.fields["chip_id"] = bytes([7, number]) * 32
        with pytest.raises(CollateralUnavailable, match="status 404" if number < 3 else "asked too often"):
            endorsements.amd(report(machine), NONE)
    machine.fields = before
    machine.verify(certificates=endorsements.amd(report(machine), without_crl(machine)))


def test_a_hidden_chip(site, published, machine):
    machine.fields["chip_id"] = bytes(64)
    refused(site, machine, "hides its chip id")
    assert published.asked == []


def test_a_hidden_chip_whose_certificate_came(site, published, machine):
    machine.fields["chip_id"] = bytes(64)
    machine.verify(certificates=site.endorsements().amd(report(machine), without_crl(machine)))


@pytest.mark.parametrize("product", [Product.MILAN, Product.GENOA])
def test_a_report_that_does_not_say_its_product(site, server, amd_authority, product):
    machine = Machine(amd_authority, product, version=2)
    server.publish_amd(machine, amd_authority.crl(product))
    server.publish_chip(machine)
    site = dataclasses.replace(site, roots=Roots(site.roots.intel, machine.roots()))
    machine.verify(certificates=site.endorsements().amd(report(machine), NONE))


def test_a_chip_of_no_product_that_is_asked(site, server, amd_authority):
    machine = Machine(amd_authority, Product.MILAN, version=2)
    message = refused(site, machine, "--product Milan")
    assert "it may be `--product Genoa` as well" in message


@pytest.mark.parametrize(
    ("changed", "step"),
    [
        ({"key_info": 7 << 2}, 1),
        ({"cpuid_family": 0x19, "cpuid_model": 0x70}, 2),
        ({"reported_tcb": b"\x03\x00\x01\x00\x00\x00\x08\xc8"}, 8),
    ],
    ids=["unsigned", "unknown product", "unknown component"],
)
def test_reports_that_nothing_is_fetched_for(site, published, machine, changed, step):
    machine.fields |= changed
    with pytest.raises(EvidenceRefused) as caught:
        site.endorsements().amd(report(machine), NONE)
    assert caught.value.step == step
    assert published.asked == []


def test_a_certificate_of_nothing_known(site, published, machine):
    with pytest.raises(EvidenceRefused, match="step 2"):
        site.endorsements().amd(report(machine), Certificates(machine.root))
    assert published.asked == []


@pytest.mark.parametrize("which", ["chip", CHAIN, CRL])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(b"gone", 404), "status 404"),
        (Answer(b"slow down", 429), "status 429"),
        (Answer(b"slow down", 429, {"Retry-After": "60"}), "status 429, and to come back in 60 s"),
        (Answer(b"oops", 500), "status 500"),
        (Answer(b"", 302, {"Location": "/elsewhere"}), "redirects"),
        (Answer(b"<html>", headers={"Content-Type": "text/html"}), "certificate|CRL|PEM"),
        (Answer(b""), "certificate|CRL|PEM"),
        (Answer(bytes(200_000)), "more than"),
        (Answer(b"0", length=1000), "without sending complete|closed"),
    ],
)
def test_no_good_answer(site, published, machine, which, answer, reason):
    path = published.publish_chip(machine) if which == "chip" else which
    published.answers[path] = answer
    message = refused(site, machine, reason, kept=1 if which == CRL else 0)
    assert "confide collateral fetch --product Milan" in message


def test_a_certificate_of_another_chip(site, published, machine, amd_authority):
    path = published.publish_chip(machine)
    other = Machine(amd_authority, Product.MILAN)
    other.hardware_id = bytes(range(2, 66))
    published.answers[path] = Answer(other.endorsement().public_bytes(Encoding.DER))
    refused(site, machine, "this is the VCEK certificate of the Milan chip 0203")


def test_a_certificate_is_kept_only_for_a_report_that_its_key_signed(site, published, machine):
    """Whoever writes chips and TCB versions into reports fills no store."""
    forged = bytearray(machine.report())
    forged[0x50] ^= 1  # report data
    with pytest.raises(EvidenceRefused, match="step 6"):
        site.endorsements().amd(parse_report(bytes(forged)), NONE)
    assert [each.name for each in site.store.collaterals()] == []
    site.endorsements().amd(report(machine), NONE)
    assert [each.name.split("/")[2] for each in site.store.collaterals()] == ["vcek", "vcek"]


def test_a_certificate_of_another_tcb(site, published, machine):
    path = published.publish_chip(machine)
    machine.tcb |= {"microcode": 199}
    published.answers[path] = Answer(machine.endorsement().public_bytes(Encoding.DER))
    machine.tcb |= {"microcode": 200}
    refused(site, machine, r"at TCB 3\.0\.8\.199")


def test_a_certificate_that_expired(site, published, machine):
    machine.times = {"after": NOW - 1, "before": NOW - DAY}
    published.publish_chip(machine)
    refused(site, machine, "expired")


def test_another_maker(site, server, machine):
    other = Authority()
    forger = Machine(other, Product.MILAN)
    server.publish_amd(forger, other.crl(Product.MILAN))
    server.publish_chip(forger)
    refused(site, machine, "not the one that is trusted for Milan")
    refused(site, machine, "not the one that is trusted for Milan", without_crl(machine))


def test_a_crl_of_another_key_in_the_roots_name(site, published, machine, amd_authority):
    crl = amd_authority.crl(Product.MILAN, key=amd_authority.key)
    published.answers[CRL] = Answer(crl.public_bytes(Encoding.DER))
    refused(site, machine, "not signed by ARK-Milan", without_crl(machine))


def test_a_crl_of_another_product(site, published, machine, amd_authority):
    published.answers[CRL] = Answer(amd_authority.crl(Product.GENOA).public_bytes(Encoding.DER))
    refused(site, machine, "not issued in the root's name", without_crl(machine))


def test_a_stale_crl(site, published, machine, amd_authority):
    crl = amd_authority.crl(Product.MILAN, until=NOW - 1)
    published.answers[CRL] = Answer(crl.public_bytes(Encoding.DER))
    refused(site, machine, "CRL has expired", without_crl(machine))


def test_a_crl_of_the_future(site, published, machine, amd_authority):
    crl = amd_authority.crl(Product.MILAN, last=NOW + 60)
    published.answers[CRL] = Answer(crl.public_bytes(Encoding.DER))
    refused(site, machine, "not valid yet", without_crl(machine))


def test_a_chain_without_the_intermediate(site, published, machine):
    published.answers[CHAIN] = Answer(machine.root.public_bytes(Encoding.PEM))
    refused(site, machine, "step 3|missing", without_crl(machine))


def test_a_crl_that_revokes_is_kept_and_heeded(site, published, machine, amd_authority):
    crl = amd_authority.crl(Product.MILAN, [machine.intermediate.serial_number])
    published.answers[CRL] = Answer(crl.public_bytes(Encoding.DER))
    found = site.endorsements().amd(report(machine), NONE)
    machine.refused(4, "was revoked", certificates=found)
