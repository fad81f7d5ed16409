"""Reports, real and of machines made here: what each step of the verifier accepts and refuses."""

from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from confide.attestation.amd.certificates import Certificates, built_in
from confide.attestation.amd.report import LAYOUT, REPORT_BYTES, Product, SigningKey
from confide.attestation.amd.verify import PINNED, verify_report
from confide.attestation.appraise import appraise
from confide.attestation.claims import Tee
from confide.attestation.requirements import PlatformRequirements
from confide.errors import CollateralUnavailable, EvidenceRefused, InvalidFormat, PlatformRefused

from .conftest import NOW as REAL_NOW
from .conftest import read
from .synthetic import DAY, NOW, TCB, authority_extensions, der, name, tcb_bytes

MILAN, GENOA, TURIN = Product
VCEK, VLEK = SigningKey.VCEK, SigningKey.VLEK
P384_ORDER = (
    0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
)


def refused(report, certificates, now=REAL_NOW, roots=PINNED):
    with pytest.raises(EvidenceRefused) as caught:
        verify_report(report, certificates, now, roots=roots)
    return caught.value


# Real reports.


def test_a_real_report(each):
    verified = verify_report(each.report, each.certificates, REAL_NOW)
    platform, expected = verified.platform, each.expected
    assert platform.registers == {
        "measurement": expected["measurement"],
        "host_data": expected["host_data"],
        "id_key_digest": "00" * 48,
        "author_key_digest": "00" * 48,
        "family_id": expected["family"],
        "image_id": expected["image"],
    }
    assert platform.numbers == {
        "guest_svn": expected["guest_svn"],
        "vmpl": expected["vmpl"],
        "policy": int(expected["policy"], 16),
        "platform_info": int(expected["platinfo"], 16),
        "launch_mit_vector": 0,
        "current_mit_vector": 0,
    }
    assert platform.debug is expected["debug"]
    tcb = bytes.fromhex(expected["reported_tcb"])
    assert platform.tcb.components == {
        "bootloader": tcb[0],
        "tee": tcb[1],
        "snp": tcb[6],
        "microcode": tcb[7],
    }
    assert (platform.tcb.smt, platform.tcb.status, platform.tcb.date) == (True, "", None)
    assert [identity[:32] for identity in platform.hardware_ids] == [expected["chip"]]
    assert verified.report.report_data.hex() == expected["report_data"]
    assert verified.report.raw == each.report
    assert REAL_NOW < platform.expires < REAL_NOW + 8 * 366 * DAY


def test_the_report_of_an_azure_machine(azure):
    report, vcek = azure
    platform = verify_report(report, Certificates.from_der(vcek), REAL_NOW + 366 * DAY).platform
    assert (platform.numbers["vmpl"], platform.debug, len(platform.hardware_ids)) == (0, False, 1)


@pytest.mark.exhaustive
def test_every_byte_of_a_real_report_is_signed(each):
    certificates, survivors = each.certificates, []
    for index in range(REPORT_BYTES):
        flipped = bytearray(each.report)
        flipped[index] ^= 1 << index % 8
        try:
            verify_report(bytes(flipped), certificates, REAL_NOW)
        except EvidenceRefused:
            continue
        survivors.append(index)
    assert survivors == []


def test_truncated_and_extended(each):
    for size in {0, 1, 0x2A0, 0x330, REPORT_BYTES - 1}:
        assert refused(each.report[:size], each.certificates).step == 1
    for tail in (b"\0", bytes(16), b"\xff" * 4096, each.report):
        assert refused(each.report + tail, each.certificates).step == 1


def test_the_key_of_another_real_chip(milan, milan_debug):
    assert refused(milan.report, milan_debug.certificates).step == 6
    assert refused(milan_debug.report, milan.certificates).step == 6


def test_a_real_key_of_another_product(milan):
    turin = Certificates.from_der(read("snp-turin.vcek.der"))
    assert refused(milan.report, turin).step == 6  # a report of version 2 does not say its product


def test_a_real_chain_of_another_product(milan):
    turin = Certificates.from_pem(read("snp-turin-ask-ark.pem")).chain
    assert refused(milan.report, Certificates(milan.certificates.endorsement, turin)).step == 3


def test_the_chain_as_it_is_published(milan):
    chain = Certificates.from_pem(read("snp-milan-ask-ark.pem")).chain
    verify_report(milan.report, Certificates(milan.certificates.endorsement, chain), REAL_NOW)


def test_before_and_after_the_validity_of_a_real_certificate(milan):
    certificate = milan.certificates.endorsement
    first, last = (
        int(time.timestamp()) for time in (certificate.not_valid_before_utc, certificate.not_valid_after_utc)
    )
    for now in (first, last):
        assert verify_report(milan.report, milan.certificates, now).platform.expires == last
    assert refused(milan.report, milan.certificates, first - 1).step == 3
    with pytest.raises(CollateralUnavailable, match="SEV-VCEK has expired"):
        verify_report(milan.report, milan.certificates, last + 1)


@pytest.mark.parametrize("pinned", [{}, {TURIN: PINNED[TURIN]}, {MILAN: PINNED[GENOA]}, {MILAN: "00" * 32}])
def test_other_roots_are_not_trusted(milan, pinned):
    with pytest.raises((EvidenceRefused, CollateralUnavailable)) as caught:
        verify_report(milan.report, milan.certificates, REAL_NOW, roots=pinned)
    assert not isinstance(caught.value, EvidenceRefused) or caught.value.step == 3


@pytest.mark.exhaustive
def test_a_flip_in_every_byte_of_a_real_certificate(milan):
    original, survivors = der(milan.certificates.endorsement), []
    for index in range(len(original)):
        flipped = bytearray(original)
        flipped[index] ^= 1 << index % 8
        try:
            verify_report(milan.report, Certificates.from_der(bytes(flipped)), REAL_NOW)
        except (InvalidFormat, EvidenceRefused, CollateralUnavailable):
            continue
        survivors.append(index)
    assert survivors == []


# Roots.


def test_the_pinned_roots_are_those_that_amd_publishes():
    """SHA-256 of https://kdsintf.amd.com/vcek/v1/<product>/cert_chain, second certificate, as DER."""
    assert PINNED == {
        MILAN: "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
        GENOA: "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
        TURIN: "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
    }
    digests = {hashlib.sha256(der(certificate)).hexdigest() for certificate in built_in()}
    assert set(PINNED.values()) <= digests
    assert len(digests) == len(built_in()) == 9


@pytest.mark.parametrize("product", Product)
def test_the_built_in_chains_hold(product):
    roots = [one for one in built_in() if one.subject == one.issuer]
    (root,) = [one for one in roots if hashlib.sha256(der(one)).hexdigest() == PINNED[product]]
    issued = [one for one in built_in() if one.issuer == root.subject]
    assert len(issued) == 3
    for certificate in issued:
        certificate.verify_directly_issued_by(root)


def test_the_built_in_roots_are_the_given_ones():
    for product in ("milan", "turin"):
        assert set(Certificates.from_pem(read(f"snp-{product}-ask-ark.pem")).chain) <= set(built_in())


# Machines made here.


@pytest.mark.parametrize("kind", [VCEK, VLEK])
@pytest.mark.parametrize("product", Product)
@pytest.mark.parametrize("version", [2, 3, 5])
def test_every_version_product_and_key(machine, product, kind, version):
    machine = machine.of(product, kind, version)
    if version == 5:
        machine.fields |= {"launch_mit_vector": 3, "current_mit_vector": 2**64 - 1}
    platform = machine.verify().platform
    assert platform.tcb.components == {part: TCB[part] for part in machine.tcb}
    assert ("fmc" in platform.tcb.components) is (product is TURIN)
    chip = (machine.hardware_id.ljust(64, b"\0").hex(),)
    assert platform.hardware_ids == (chip if kind is VCEK else ())
    assert platform.expires == NOW + 1000 * DAY
    assert platform.debug is False


@pytest.mark.exhaustive
def test_every_byte_is_signed(machine):
    machine = machine.of(TURIN, VLEK, 5)
    machine.fields["launch_mit_vector"] = 7
    report, certificates = machine.report(), machine.certificates()
    for index in range(REPORT_BYTES):
        flipped = bytearray(report)
        flipped[index] ^= 1 << index % 8
        refused(bytes(flipped), certificates, NOW, machine.roots())


@pytest.mark.parametrize("version", [0, 1, 4, 6, 0x10002, 2**32 - 1])
def test_step_1_version(machine, version):
    machine.fields["version"] = version
    machine.refused(1, "version")


@pytest.mark.parametrize("algorithm", [0, 2, 0x101, 2**32 - 1])
def test_step_1_algorithm(machine, algorithm):
    machine.fields["signature_algo"] = algorithm
    machine.refused(1, "algorithm")


@pytest.mark.parametrize("key", range(2, 8))
def test_step_1_keys(machine, key):
    machine.fields["key_info"] = key << 2
    machine.refused(1, "VCEK or VLEK")


@pytest.mark.parametrize("key_info", [1 << 5, 1 << 31])
def test_step_1_key_info(machine, key_info):
    machine.fields["key_info"] = key_info
    machine.refused(1, "reserved")


@pytest.mark.parametrize("version", [2, 3, 5])
def test_step_1_reserved_bytes(machine, version):
    machine = machine.of(version=version)
    certificates = machine.certificates()
    covered = {at for field in LAYOUT.fields for at in range(field.offset, field.offset + field.size)}
    reserved = set(range(0x2A0)) - covered
    assert len(reserved) == 4 + 21 + 1 + 1 + 152
    reserved |= {0x188, 0x189, 0x18A} if version == 2 else set()
    reserved |= set(range(0x1F8, 0x208)) if version < 5 else set()
    for at in sorted(reserved):
        raw = bytearray(machine.raw())
        raw[at] = 1 + at % 255
        machine.refused(1, "reserved", report=machine.report(bytes(raw)), certificates=certificates)


def test_step_1_bytes_behind_the_signature(machine):
    report = machine.report()
    machine.refused(1, "reserved", report=report[:-1] + b"\1")
    machine.refused(1, "reserved", report=report[:0x330] + b"\1" + report[0x331:])


@pytest.mark.parametrize("missing", ["endorsement", "intermediate", "root"])
def test_missing_certificates(machine, missing):
    given = machine.certificates()
    lacking = {
        "endorsement": Certificates(None, given.chain),
        "intermediate": Certificates(given.endorsement, (machine.root,)),
        "root": Certificates(given.endorsement, (machine.intermediate,)),
    }
    if missing == "intermediate":  # AMD's built-in one has another name here than ours
        machine.issuer = name("SEV-Milan", "Another organization")
        lacking[missing] = Certificates(machine.endorsement(), (machine.root,))
    machine.unavailable("missing", certificates=lacking[missing])


def test_amds_built_in_intermediate_does_not_stand_in_for_another(machine):
    given = machine.certificates()
    certificates = Certificates(given.endorsement, (machine.root,))
    with pytest.raises((EvidenceRefused, CollateralUnavailable)):
        machine.verify(certificates=certificates)


@pytest.mark.parametrize(
    ("product", "cpuid"),
    [
        (MILAN, (0x19, 0x11)),
        (MILAN, (0x1A, 0x02)),
        (MILAN, (0x17, 0x01)),
        (MILAN, (0x19, 0x20)),
        (MILAN, (0, 0)),
        (GENOA, (0x19, 0x01)),
        (GENOA, (0x19, 0x9F)),
        (TURIN, (0x19, 0x11)),
        (TURIN, (0x1A, 0x12)),
    ],
)
def test_step_2_another_product_than_that_of_the_key(machine, product, cpuid):
    machine = machine.of(product)
    machine.fields["cpuid_family"], machine.fields["cpuid_model"] = cpuid
    machine.refused(2, "report is of")


@pytest.mark.parametrize("model", [0x10, 0x1F, 0xA0, 0xAF])
def test_models_of_genoa(machine, model):
    machine = machine.of(GENOA)
    machine.fields["cpuid_model"] = model
    machine.verify()


@pytest.mark.parametrize(
    ("suffix", "content", "reason"),
    [
        ("2", None, r"without extension .*\.2"),
        ("2", asn1.encode_der("Milan"), r"extension .*\.2"),
        ("2", asn1.encode_der(asn1.IA5String("Naples")), "product"),
        ("2", asn1.encode_der(asn1.IA5String("")), "product"),
        ("2", b"", r"extension .*\.2"),
        ("3.1", None, r"without extension .*3\.1"),
        ("3.8", None, r"without extension .*3\.8"),
        ("3.8", asn1.encode_der(256), "version number"),
        ("3.8", asn1.encode_der(-1), "version number"),
        ("3.8", asn1.encode_der(2**4000), r"3\.8"),
        ("3.8", asn1.encode_der(200) + b"\0", r"3\.8"),
        ("3.8", b"\2\2\0\1", r"3\.8"),
        ("3.8", b"\xc8", r"3\.8"),
        ("3.9", asn1.encode_der(1), "components"),
        ("4", None, "0 bytes"),
        ("4", bytes(range(8)), "8 bytes"),
        ("4", bytes(64), "zero"),
        ("4", asn1.encode_der(bytes(range(1, 65))), "66 bytes"),
        ("5", asn1.encode_der(asn1.IA5String("a-provider")), "provider"),
    ],
)
def test_step_2_forged_extensions(machine, suffix, content, reason):
    machine.changed_extensions[suffix] = content
    machine.refused(2, reason)


@pytest.mark.parametrize(
    ("suffix", "content", "reason"),
    [
        ("4", bytes(range(1, 65)), "64 bytes"),
        ("5", None, "provider"),
        ("5", asn1.encode_der("a-provider"), r"\.5"),
        ("3.9", asn1.encode_der(1), "components"),
    ],
)
def test_step_2_forged_extensions_of_a_vlek(machine, suffix, content, reason):
    machine = machine.of(kind=VLEK)
    machine.changed_extensions[suffix] = content
    machine.refused(2, reason)


def test_step_2_a_turin_key_without_its_component(machine):
    machine = machine.of(TURIN)
    machine.changed_extensions["3.9"] = None
    machine.refused(2, "components")


@pytest.mark.parametrize("common_name", ["SEV-VCEK2", "sev-vcek", "SEV-Milan", "VCEK", "ARK-Milan"])
def test_step_2_another_name(machine, common_name):
    machine.common_name = common_name
    machine.refused(2, "not the certificate")


@pytest.mark.parametrize("product_name", ["Milan", "Milan-B0", "Milan-B1", "Milan-X"])
def test_steppings(machine, product_name):
    machine.product_name = product_name
    machine.verify()


def test_step_3_a_root_of_somebody_elses(machine):
    machine.refused(3, "not the one that is trusted", roots=PINNED)


def test_step_3_a_root_of_the_same_name(machine, authority):
    other = machine.of()
    other.root = authority.root(MILAN, after=NOW + 4000 * DAY)
    other.refused(3, "not the one that is trusted", roots=machine.roots())


def test_step_3_both_roots(machine, authority):
    """Another root beside the one that is trusted changes nothing."""
    given = machine.certificates()
    chain = (authority.root(MILAN, after=NOW + 4000 * DAY), *given.chain)
    machine.verify(certificates=Certificates(given.endorsement, chain))


def test_step_3_no_root_for_the_product(machine):
    machine.refused(3, "no root is trusted", roots={GENOA: machine.roots()[MILAN]})


def test_step_3_the_chain_of_another_product(machine, authority):
    machine.intermediate, machine.root = authority.intermediate(GENOA, VCEK), authority.root(GENOA)
    machine.issuer = machine.intermediate.subject
    machine.refused(3, "not issued by that name")


@pytest.mark.parametrize(("kind", "other"), [(VCEK, VLEK), (VLEK, VCEK)])
def test_step_3_the_intermediate_of_the_other_kind(machine, authority, kind, other):
    machine = machine.of(kind=kind)
    machine.intermediate = authority.intermediate(MILAN, other)
    machine.issuer = machine.intermediate.subject
    machine.refused(3, "not issued by that name")


def test_step_3_an_intermediate_of_another_root(machine, authority):
    machine.intermediate = authority.make_intermediate(MILAN, VCEK, issuer=name("ARK-Genoa"))
    machine.refused(3, "not issued in the root's name")


def test_step_3_an_intermediate_that_the_root_did_not_sign(machine, authority):
    machine.intermediate = authority.make_intermediate(MILAN, VCEK, issuer_key=authority.key)
    machine.refused(3, "not signed by ARK-Milan")


def test_step_3_a_key_that_the_intermediate_did_not_certify(machine, authority):
    machine.issuer_key = authority.root_key
    machine.refused(3, "not signed by SEV-Milan")


@pytest.mark.parametrize(
    "extensions",
    [
        [],
        authority_extensions(ca=False),
        authority_extensions(cert_sign=False),
        authority_extensions()[:1],
        authority_extensions()[1:],
    ],
)
def test_step_3_an_intermediate_that_is_no_authority(machine, authority, extensions):
    machine.intermediate = authority.make_intermediate(MILAN, VCEK, extensions=extensions)
    machine.refused(3, "no certificate authority")


def test_step_3_an_endorsement_key_as_an_intermediate(machine, authority):
    """A chip's own key must not certify others."""
    machine.intermediate = authority.make_intermediate(MILAN, VCEK, key=machine.key)
    machine.issuer_key, machine.times["pss"] = machine.key, None
    machine.refused(3, "RSA of 4096")


def test_step_3_a_short_key(machine, authority):
    weak = rsa.generate_private_key(65537, 2048)
    machine.intermediate = authority.make_intermediate(MILAN, VCEK, key=weak)
    machine.issuer_key = weak
    machine.refused(3, "RSA of 4096")


@pytest.mark.parametrize(
    ("digest", "pss"),
    [(SHA256(), padding.PSS(padding.MGF1(SHA256()), 32)), (SHA384(), padding.PKCS1v15())],
)
def test_step_3_another_signature_scheme(machine, digest, pss):
    machine.times |= {"digest": digest, "pss": pss}
    machine.refused(3, "not signed by SEV-Milan")


def test_step_3_unknown_critical_extensions(machine, authority):
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0")
    machine.more_extensions.append((unknown, False))
    machine.verify()
    machine.more_extensions = [(unknown, True)]
    machine.refused(3, "critical")
    machine.more_extensions = []
    machine.intermediate = authority.make_intermediate(
        MILAN, VCEK, extensions=[*authority_extensions(), (unknown, True)]
    )
    machine.refused(3, "critical")


def test_step_3_validity(machine, authority):
    machine.times = {"before": NOW, "after": NOW + 10}
    machine.verify(now=NOW)
    assert machine.verify(now=NOW + 10).platform.expires == NOW + 10
    machine.refused(3, "SEV-VCEK is not valid yet", now=NOW - 1)
    machine.unavailable("SEV-VCEK has expired", now=NOW + 11)


def test_step_3_validity_of_the_intermediate(machine, authority):
    machine.intermediate = authority.make_intermediate(MILAN, VCEK, before=NOW, after=NOW + 10)
    assert machine.verify().platform.expires == NOW + 10
    machine.refused(3, "SEV-Milan is not valid yet", now=NOW - 1)
    machine.unavailable("SEV-Milan has expired", now=NOW + 11)


def test_step_3_validity_of_the_root(machine, authority):
    machine.root = authority.root(MILAN, before=NOW, after=NOW + 10)
    assert machine.verify().platform.expires == NOW + 10
    machine.refused(3, "ARK-Milan is not valid yet", now=NOW - 1)
    machine.unavailable("ARK-Milan has expired", now=NOW + 11)


@pytest.mark.parametrize("now", [-(2**70), -1, 0, 2**40, 2**70])
def test_step_3_far_away_times(machine, now):
    with pytest.raises((EvidenceRefused, CollateralUnavailable)):
        machine.verify(now=now)


@pytest.mark.parametrize("kind", [VCEK, VLEK])
def test_step_4_a_crl(machine, authority, kind):
    machine = machine.of(kind=kind)
    machine.crl = authority.crl(MILAN, [77], until=NOW + 5)
    assert machine.verify().platform.expires == NOW + 5
    assert machine.verify(now=NOW + 5).platform.expires == NOW + 5


@pytest.mark.parametrize("kind", [VCEK, VLEK])
@pytest.mark.parametrize(("serial", "whose"), [(1, "ARK-Milan"), (99, "SEV-.*Milan")])
def test_step_4_revoked(machine, authority, kind, serial, whose):
    machine = machine.of(kind=kind)
    machine.intermediate = authority.make_intermediate(MILAN, kind, serial=99)
    machine.crl = authority.crl(MILAN, [77, serial])
    machine.refused(4, f"{whose} was revoked")


def test_step_4_crls_of_others(machine, authority):
    machine.crl = authority.crl(GENOA)
    machine.refused(4, "root's name")
    machine.crl = authority.crl(MILAN, key=authority.key)
    machine.refused(4, "not signed by ARK-Milan")


def test_step_4_times_of_crls(machine, authority):
    machine.crl = authority.crl(MILAN, last=NOW + 1)
    machine.refused(4, "not valid yet")
    machine.crl = authority.crl(MILAN, until=NOW - 1)
    machine.unavailable("CRL has expired")


def test_step_4_a_crl_that_covers_less(machine, authority):
    machine.crl = authority.crl(MILAN, extensions=[(x509.DeltaCRLIndicator(1), True)])
    machine.refused(4, "critical")
    machine.crl = authority.crl(MILAN, extensions=[(x509.CRLNumber(1), False)])
    machine.verify()


@pytest.mark.parametrize(("signed_by", "said"), [(VCEK, VLEK), (VLEK, VCEK)])
def test_step_5_the_other_kind_of_key(machine, signed_by, said):
    machine = machine.of(kind=signed_by)
    machine.fields["key_info"] = said << 2
    machine.refused(5, signed_by.name)


def test_step_6_another_key(machine):
    other = ec.generate_private_key(ec.SECP384R1())
    machine.refused(6, "not signed by the SEV-VCEK", report=machine.report(key=other))


def test_step_6_a_key_on_another_curve(machine):
    machine.key = ec.generate_private_key(ec.SECP256R1())
    machine.refused(6, "P-384")


def test_step_6_an_rsa_key(machine, authority):
    report = machine.report()
    machine.key = authority.key
    machine.refused(6, "P-384", report=report)


@pytest.mark.parametrize(
    ("r", "s"),
    [
        (0, 0),
        (0, 1),
        (1, 0),
        (1, 1),
        (P384_ORDER, 1),
        (1, P384_ORDER),
        (P384_ORDER, P384_ORDER),
        (2**384 - 1,) * 2,
    ],
)
def test_step_6_signatures_of_nobody(machine, r, s):
    signature = r.to_bytes(72, "little") + s.to_bytes(72, "little")
    machine.refused(6, "not signed", report=machine.raw() + signature + bytes(368))


@pytest.mark.parametrize("at", [0x2A0 + 48, 0x2A0 + 71, 0x2A0 + 72 + 48, 0x2A0 + 143])
def test_step_6_padding(machine, at):
    report = bytearray(machine.report())
    report[at] = 1
    machine.refused(6, "padded", report=bytes(report))


def test_step_6_numbers_the_other_way_round(machine):
    raw = machine.raw()
    r, s = decode_dss_signature(machine.key.sign(raw, ec.ECDSA(SHA384())))
    signature = b"".join(number.to_bytes(48, "big").ljust(72, b"\0") for number in (r, s))
    machine.refused(6, "not signed", report=raw + signature + bytes(368))


def test_step_6_another_hash(machine):
    raw = machine.raw()
    r, s = decode_dss_signature(machine.key.sign(raw, ec.ECDSA(SHA256())))
    signature = r.to_bytes(72, "little") + s.to_bytes(72, "little")
    machine.refused(6, "not signed", report=raw + signature + bytes(368))


@pytest.mark.parametrize("change", [-1, 1])
@pytest.mark.parametrize(
    ("product", "part"),
    [(product, part) for product in Product for part in TCB if part != "fmc" or product is TURIN],
)
def test_step_7_another_tcb_than_that_of_the_key(machine, product, part, change):
    machine = machine.of(product)
    reported = machine.tcb | {part: (machine.tcb[part] + change) % 256}
    machine.fields["reported_tcb"] = tcb_bytes(product, reported)
    machine.refused(7, part)


@pytest.mark.parametrize("name", ["reported_tcb", "committed_tcb", "launch_tcb"])
@pytest.mark.parametrize("product", Product)
def test_step_7_components_that_are_not_known(machine, product, name):
    machine = machine.of(product)
    for at in (4, 5):
        tcb = bytearray(machine.fields[name])
        tcb[at] = 1
        machine.fields[name], kept = bytes(tcb), machine.fields[name]
        machine.refused(7, "components")
        machine.fields[name] = kept


def test_the_lowest_tcb_counts(machine):
    machine.fields["committed_tcb"] = tcb_bytes(MILAN, machine.tcb | {"snp": 7, "microcode": 255})
    machine.fields["launch_tcb"] = tcb_bytes(MILAN, machine.tcb | {"snp": 9, "microcode": 199})
    machine.fields["current_tcb"] = tcb_bytes(MILAN, dict.fromkeys(machine.tcb, 0))
    components = machine.verify().platform.tcb.components
    assert components == {"bootloader": 3, "tee": 0, "snp": 7, "microcode": 199}


@pytest.mark.parametrize("product", Product)
def test_step_8_another_chip(machine, product):
    machine = machine.of(product)
    chip_id = machine.fields["chip_id"]
    for at in (0, 7, 8, 63):
        other = bytearray(chip_id)
        other[at] ^= 0x80
        machine.fields["chip_id"] = bytes(other)
        machine.refused(8, "another chip")


def test_another_chips_key_of_the_same_product(machine):
    other = machine.of()
    other.hardware_id = bytes(range(2, 66))
    machine.refused(6, "not signed", certificates=other.certificates())


@pytest.mark.parametrize("product", Product)
def test_a_chip_id_that_the_machine_hides(machine, product):
    machine = machine.of(product)
    machine.fields["chip_id"] = bytes(64)
    assert machine.verify().platform.hardware_ids == (machine.hardware_id.ljust(64, b"\0").hex(),)


def test_a_chip_id_beside_a_vlek(machine):
    machine = machine.of(kind=VLEK)
    machine.fields["chip_id"] = bytes(range(64))  # whoever has the key writes what he likes
    platform = machine.verify().platform
    assert platform.hardware_ids == ()
    listed = PlatformRequirements(hardware_ids=(bytes(range(64)).hex(),))
    with pytest.raises(PlatformRefused, match="step 3"):
        appraise(Tee.SNP, platform, listed, NOW)


@pytest.mark.parametrize("bit", range(26, 64))
def test_step_9_unknown_policy_bits(machine, bit):
    machine.fields["policy"] |= 1 << bit
    machine.refused(9, "reserved bits")


def test_step_9_the_bit_that_is_always_one(machine):
    machine.fields["policy"] = 0x10000
    machine.refused(9, "reserved bits")


@pytest.mark.parametrize("bit", [*range(17), *range(18, 26)])
def test_known_policy_bits(machine, bit):
    machine.fields["policy"] = 1 << 17 | 1 << bit
    platform = machine.verify().platform
    assert platform.numbers["policy"] == 1 << 17 | 1 << bit
    assert platform.debug is (bit == 19)


@pytest.mark.parametrize("vmpl", [4, 255, 2**32 - 1])
def test_step_9_a_report_for_the_host(machine, vmpl):
    machine.fields["vmpl"] = vmpl
    machine.refused(9, "guest")


@pytest.mark.parametrize("vmpl", range(4))
def test_vmpls(machine, vmpl):
    machine.fields["vmpl"] = vmpl
    assert machine.verify().platform.numbers["vmpl"] == vmpl


def test_what_the_machine_says_of_itself_is_passed_on(machine):
    """New firmware sets bits of PLATFORM_INFO that are not known yet; a policy sees the number."""
    machine.fields |= {"platform_info": 2**64 - 2, "key_info": 0b11, "guest_svn": 2**32 - 1}
    verified = machine.verify()
    assert verified.platform.numbers["platform_info"] == 2**64 - 2
    assert verified.platform.numbers["guest_svn"] == 2**32 - 1
    assert verified.platform.tcb.smt is False
    assert verified.report.number("key_info") == 0b11


# Anything at all.


def outcome(report, certificates, roots=PINNED):
    try:
        return verify_report(report, certificates, NOW, roots=roots)
    except (EvidenceRefused, CollateralUnavailable):
        return None


@given(st.binary(max_size=2000) | st.binary(min_size=REPORT_BYTES, max_size=REPORT_BYTES))
def test_any_bytes(data):
    assert outcome(data, Certificates()) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_signed_report(machine, data):
    """Even what the chip itself signs cannot make the verifier stumble; what is accepted keeps the rules."""
    for field in LAYOUT.fields:
        if not field.name.startswith("signature_") and data.draw(st.integers(0, 9)) == 0:
            raw = data.draw(st.binary(min_size=field.size, max_size=field.size))
            machine.fields[field.name] = int.from_bytes(raw, "little") if field.number else raw
    verified = outcome(machine.report(), machine.certificates(), machine.roots())
    if verified is None:
        return
    assert machine.fields["reported_tcb"] == tcb_bytes(MILAN, machine.tcb)
    assert machine.fields["policy"] >> 26 == 0
    assert verified.platform.numbers["vmpl"] <= 3
    assert verified.platform.debug is bool(machine.fields["policy"] & 1 << 19)
    assert verified.platform.hardware_ids == (machine.hardware_id.hex(),)
    assert verified.platform.registers["measurement"] == machine.fields["measurement"].hex()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["1", "2", "3.1", "3.2", "3.3", "3.8", "3.9", "4", "5"]), st.binary(max_size=70)
    )
)
def test_any_certified_extensions(machine, extensions):
    machine.changed_extensions = extensions
    outcome(machine.report(), machine.certificates(), machine.roots())
