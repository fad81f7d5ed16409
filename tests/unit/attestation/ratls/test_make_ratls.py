"""Making certificates with evidence."""

from __future__ import annotations

import hashlib

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.ratls.forms import Form
from confide.attestation.ratls.make import make_certificate
from confide.attestation.ratls.verify import verify_ratls
from confide.errors import AttestationRefused, InvalidFormat

from .issuing import DAY, NOW, quote_of, spki, verify_evidence

TAGGED, GRAMINE, SGX_SDK = Form
KEY = ec.generate_private_key(ec.SECP256R1())


def make(key=KEY, quote_of=quote_of, **arguments):
    return make_certificate(key, quote_of, **{"not_before": NOW - DAY, "not_after": NOW + DAY} | arguments)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
@pytest.mark.parametrize("form", Form)
def test_what_is_made_verifies(form, curve):
    key = ec.generate_private_key(curve)
    made = make(key, form=form)
    certificate = verify_ratls(made, NOW, verify_evidence).certificate
    assert (certificate.form, certificate.public_key) == (form, spki(key))
    assert (certificate.not_before, certificate.not_after) == (NOW - DAY, NOW + DAY)
    assert made.startswith(b"-----BEGIN CERTIFICATE-----\n")


def test_others_read_what_is_made():
    """The extension's bytes, as the specification has them."""
    certificate = x509.load_pem_x509_certificate(make(nonce=b"fresh"))
    content = certificate.extensions.get_extension_for_oid(
        x509.ObjectIdentifier("2.23.133.5.4.9")
    ).value.value
    evidence = cbor2.loads(content)
    assert (content[:3].hex(), evidence.tag) == ("d9ea60", 60000)
    quote, claims = evidence.value
    assert quote == quote_of(hashlib.sha256(claims).digest().ljust(64, b"\0"))
    claims = cbor2.loads(claims)
    assert cbor2.loads(claims["pubkey-hash"]) == [1, hashlib.sha256(spki(KEY)).digest()]
    assert claims["nonce"] == b"fresh"
    certificate.verify_directly_issued_by(certificate)


def test_others_read_gramines_form():
    made = make(form=GRAMINE)
    certificate = x509.load_pem_x509_certificate(made)
    (extension,) = [
        each for each in certificate.extensions if isinstance(each.value, x509.UnrecognizedExtension)
    ]
    assert extension.value.value == quote_of(hashlib.sha256(spki(KEY)).digest().ljust(64, b"\0"))
    assert bytes.fromhex("060b06092a864886f84d8a3906") in certificate.tbs_certificate_bytes


def test_what_cannot_issue_passes_through():
    def refuse(report_data):
        raise AttestationRefused("no TEE here")

    with pytest.raises(AttestationRefused, match="no TEE here"):
        make(quote_of=refuse)


@pytest.mark.parametrize(
    "arguments",
    [
        {"key": ec.generate_private_key(ec.SECP521R1())},
        {"key": ec.generate_private_key(ec.SECP256K1())},
        {"form": GRAMINE, "nonce": b"n"},
        {"form": SGX_SDK, "nonce": b"n"},
        {"name": ""},
        {"name": "x" * 65},
        {"not_after": NOW - 2 * DAY},
        {"not_before": -(2**40)},
        {"not_after": 2**40},
        {"not_after": 2**70},
        {"quote_of": lambda report_data: bytes(64 * 1024)},
        {"nonce": bytes(64 * 1024)},
    ],
)
def test_what_cannot_be_made(arguments):
    with pytest.raises(InvalidFormat):
        make(**arguments)


@given(st.binary(max_size=6000), st.binary(max_size=100))
def test_any_quote_and_nonce(quote, nonce):
    asked = []
    made = make(quote_of=lambda report_data: asked.append(report_data) or quote, nonce=nonce)
    certificate = verify_ratls(made, NOW, lambda quote: (None, asked[0])).certificate
    assert (certificate.quote, certificate.claims.nonce) == (quote, nonce)
