"""Reading certificates, bundles and CRLs: sizes, forms, and whatever else is handed in."""

from __future__ import annotations

import warnings

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from confide.attestation.amd.certificates import Certificates, endorsement_of
from confide.attestation.amd.report import Product, SigningKey
from confide.certificates import (
    MAX_BUNDLE_BYTES,
    MAX_CERTIFICATE_BYTES,
    MAX_CRL_BYTES,
    load_certificate,
    load_crl,
)
from confide.errors import InvalidFormat

from .conftest import read
from .synthetic import der, pem

MILAN = Product.MILAN
VCEK, VLEK = SigningKey.VCEK, SigningKey.VLEK


def test_what_a_real_certificate_says(each):
    endorsement = endorsement_of(each.certificates.endorsement)
    tcb = bytes.fromhex(each.expected["reported_tcb"])
    assert (endorsement.kind, endorsement.product, endorsement.provider) == (VCEK, MILAN, "")
    assert endorsement.tcb == {"bootloader": tcb[0], "tee": tcb[1], "snp": tcb[6], "microcode": tcb[7]}
    assert endorsement.hardware_id.hex().startswith(each.expected["chip"])


def test_what_a_real_turin_certificate_says():
    endorsement = endorsement_of(load_certificate(read("snp-turin.vcek.der")))
    assert (endorsement.kind, endorsement.product) == (VCEK, Product.TURIN)
    assert len(endorsement.hardware_id) == 8
    assert "fmc" in endorsement.tcb


def test_what_a_vlek_says(machine):
    endorsement = endorsement_of(machine.of(kind=VLEK).endorsement())
    assert (endorsement.kind, endorsement.hardware_id, endorsement.provider) == (VLEK, b"", "a-provider")


def test_a_serial_number_of_zero_warns_nobody(each):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert each.certificates.endorsement.subject


def test_der_and_pem(machine):
    certificate, crl = machine.endorsement(), machine.authority.crl(MILAN)
    for data in (der(certificate), pem(certificate), b"\n" + pem(certificate)):
        assert load_certificate(data) == certificate
    for encoding in (Encoding.DER, Encoding.PEM):
        assert load_crl(crl.public_bytes(encoding)) == crl


def test_a_bundle(machine):
    given, crl = machine.certificates(), machine.authority.crl(MILAN)
    parts = [pem(certificate) for certificate in (*given.chain, given.endorsement)]
    bundle = Certificates.from_pem(b"".join(parts))
    assert (bundle.endorsement, bundle.chain, bundle.crl) == (given.endorsement, given.chain, None)
    bundle = Certificates.from_pem(b"".join([crl.public_bytes(Encoding.PEM), *parts]))
    assert (bundle.endorsement, bundle.crl) == (given.endorsement, crl)
    assert Certificates.from_pem(parts[0]).endorsement is None


@pytest.mark.parametrize(
    "reason", ["more than one endorsement", "more than one CRL", "at most 12", "at most 131072"]
)
def test_other_bundles(machine, reason):
    certificate, crl = pem(machine.root), machine.authority.crl(MILAN).public_bytes(Encoding.PEM)
    other = pem(machine.endorsement())
    bundles = {
        "more than one endorsement": other + other,
        "more than one CRL": certificate + crl + crl,
        "at most 12": certificate * 13,
        "at most 131072": certificate + b"\n" * MAX_BUNDLE_BYTES,
    }
    with pytest.raises(InvalidFormat, match=reason):
        Certificates.from_pem(bundles[reason])


@pytest.mark.parametrize(
    "bundle",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n",
        b"\xff\xfe",
    ],
)
def test_no_bundles(bundle):
    with pytest.raises(InvalidFormat):
        Certificates.from_pem(bundle)


def test_sizes(machine):
    certificate = der(machine.endorsement())
    with pytest.raises(InvalidFormat, match="at most 8192"):
        load_certificate(certificate.ljust(MAX_CERTIFICATE_BYTES + 1, b"\0"))
    with pytest.raises(InvalidFormat, match="at most 65536"):
        load_crl(bytes(MAX_CRL_BYTES + 1))
    with pytest.raises(InvalidFormat, match="at most 12"):
        Certificates.from_der(certificate, (certificate,) * 12)


def test_truncated_and_extended(machine):
    for load, data in (
        (load_certificate, der(machine.endorsement())),
        (load_crl, machine.authority.crl(MILAN).public_bytes(Encoding.DER)),
    ):
        for wrong in (b"", data[:1], data[: len(data) // 2], data[:-1], data + b"\0", data + data):
            with pytest.raises(InvalidFormat):
                load(wrong)


def test_what_one_lacks_is_taken_from_others(machine):
    given, other = machine.certificates(), machine.of().certificates()
    assert Certificates().completed_by(given) == given
    assert given.completed_by(other) == given
    assert Certificates(given.endorsement).completed_by(other) == Certificates(given.endorsement, other.chain)


def test_a_crl_that_revokes_nobody_is_one(machine, authority):
    empty, fuller = (
        load_crl(authority.crl(MILAN, revoked).public_bytes(Encoding.DER)) for revoked in ((), [7])
    )
    assert Certificates(crl=empty).completed_by(Certificates()).crl == empty
    assert Certificates(crl=empty).completed_by(Certificates(crl=fuller)).crl == empty
    assert Certificates().completed_by(Certificates(crl=empty)).crl == empty


def test_by_name(machine):
    given, vlek = machine.certificates(), machine.of(kind=VLEK).certificates()
    named = {
        "VCEK": der(given.endorsement),
        "VLEK": der(vlek.endorsement),
        "ASK": der(machine.intermediate),
        "ARK": der(machine.root),
    }
    assert Certificates.named(named, VCEK) == given
    assert Certificates.named(named, VLEK).endorsement == vlek.endorsement
    assert Certificates.named({}, VCEK) == Certificates()


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda data: b"\x30\x82\1\0\x30\x81\xf0" + data))
def test_any_bytes(data):
    for load in (load_certificate, load_crl, Certificates.from_pem):
        with pytest.raises(InvalidFormat):
            load(data)


@pytest.fixture
def originals(machine):
    crl = machine.authority.crl(MILAN, [5]).public_bytes(Encoding.DER)
    return (load_certificate, der(machine.endorsement())), (load_crl, crl)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(at=st.integers(0, 2000), byte=st.integers(0, 255), cut=st.integers(0, 3))
def test_any_change(originals, at, byte, cut):
    """Nothing but InvalidFormat, whatever the parser trips over."""
    for load, original in originals:
        data = bytearray(original)
        data[at % len(data)] = byte
        try:
            read_back = load(bytes(data[: len(data) - cut]))
            if load is load_certificate:
                endorsement_of(read_back)
        except InvalidFormat:
            continue


def test_a_bundle_is_read_as_it_was_written(machine, authority):
    machine.crl = authority.crl(machine.product)
    certificates = machine.certificates()
    assert Certificates.from_pem(certificates.to_pem()) == certificates
