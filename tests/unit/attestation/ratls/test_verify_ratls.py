"""Certificates with evidence, real and made here: what each step accepts and refuses."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest
from asn1crypto import pem, x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from confide.attestation.intel.quote import parse_quote, trim_padding
from confide.attestation.ratls.certificate import read_certificate
from confide.attestation.ratls.claims import write_claims, write_tagged
from confide.attestation.ratls.forms import MAX_CERTIFICATE_BYTES, Form, bound_report_data
from confide.attestation.ratls.verify import check_binding, check_certificate, verify_ratls
from confide.errors import EvidenceRefused

from .issuing import DAY, NOW, PLATFORM, Draft, certificate, ecdsa, quote_of, spki, verify_evidence

QUOTES = Path(__file__).parents[5] / "shared" / "data" / "quotes"
TAGGED, GRAMINE, SGX_SDK = Form
BASIC = "2.5.29.19"


def armor(der):
    return b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"


def refused(step, reason, data, now=NOW, verify=verify_evidence):
    with pytest.raises(EvidenceRefused, match=reason) as caught:
        verify_ratls(data, now, verify)
    assert (caught.value.evidence, caught.value.step) == ("RA-TLS certificate", step)


# Real certificates.


def read(name):
    path = QUOTES / name
    if not path.exists():
        pytest.skip(f"needs {name}, which is not distributed with the project")
    return path.read_bytes()


def intel(quote):
    """Stands in for the verification of a quote, which needs collateral of its time."""
    return PLATFORM, parse_quote(trim_padding(quote)).report_data


class Real:
    def __init__(self, name, now):
        self.data, self.now = read(name), now
        self.der = pem.unarmor(self.data)[2]
        self.expected = json.loads(read("expected.json"))["ratls"][name]

    def verify(self, data=None):
        return verify_ratls(data or self.data, self.now, intel).certificate


@pytest.fixture(scope="session")
def gramine():
    return Real("ratls-gramine.cert.pem", 1_700_000_000)


@pytest.fixture(scope="session")
def rats_tls():
    return Real("ratls-rats-tls.cert.pem", 1_690_000_000)


@pytest.fixture(scope="session", params=["gramine", "rats_tls"])
def each(request):
    return request.getfixturevalue(request.param)


def test_a_real_certificate(each):
    certificate = each.verify()
    digest = hashlib.sha256(certificate.public_key).hexdigest()
    assert digest == each.expected["spki_sha256"]
    assert (certificate.form, certificate.claims.hash_algorithm) == (TAGGED, 1)
    assert (certificate.claims.pubkey_hash.hex(), certificate.claims.nonce) == (digest, b"")
    assert parse_quote(certificate.quote).debug is each.expected["debug"]
    assert each.verify(each.der) == replace(certificate, key=each.verify(each.der).key)


def test_a_real_certificate_that_cryptography_refuses(gramine):
    certificate = gramine.verify()
    assert isinstance(certificate.key.curve, ec.SECP384R1)
    claims = gramine.expected["tcg_oid"].split("sha256(claims)=")[1][:64]
    assert hashlib.sha256(certificate.encoded_claims).hexdigest() == claims


def test_the_legacy_evidence_of_a_real_certificate(gramine):
    extensions = x509.Certificate.load(gramine.der)["tbs_certificate"]["extensions"]
    (quote,) = [each["extn_value"].contents for each in extensions if each["extn_id"].dotted == GRAMINE.value]
    legacy = replace(gramine.verify(), form=GRAMINE, quote=quote, encoded_claims=b"", claims=None)
    check_certificate(legacy, gramine.now)
    check_binding(legacy, parse_quote(quote).report_data)
    with pytest.raises(EvidenceRefused):
        check_binding(gramine.verify(), parse_quote(quote).report_data)


def test_claims_that_are_not_known_are_bound_too(rats_tls):
    certificate = rats_tls.verify()
    claims = cbor2.loads(certificate.encoded_claims)
    assert claims.keys() == {"pubkey-hash", "key_0", "key_1"}
    claims["key_0"] = b"other"
    with pytest.raises(EvidenceRefused, match="step 6"):
        check_binding(
            replace(certificate, encoded_claims=cbor2.dumps(claims)),
            parse_quote(certificate.quote).report_data,
        )


def test_real_validity(rats_tls):
    certificate = rats_tls.verify()
    for now in (certificate.not_before, certificate.not_after):
        check_certificate(certificate, now)
    assert certificate.not_after == 1_708_621_822  # 2024-02-22T17:10:22Z
    for now in (certificate.not_before - 1, certificate.not_after + 1):
        with pytest.raises(EvidenceRefused, match="step 3"):
            check_certificate(certificate, now)


@pytest.mark.exhaustive
def test_flips_in_a_real_certificate(each):
    """The verifier of quotes is played here, so flips inside quotes are caught by the certificate's signature."""
    survivors, size = [], len(each.der)
    for index in (
        *range(600),
        *range(600, size - 400, 23),
        *range(size - 400, size),
    ):  # quotes are in between
        flipped = bytearray(each.der)
        flipped[index] ^= 1 << index % 8
        try:
            each.verify(bytes(flipped))
        except EvidenceRefused:
            continue
        survivors.append(index)
    assert survivors == []


def test_real_certificates_cut_and_extended(each):
    for wrong in (
        each.der[:-1],
        each.der[:1000],
        each.der + b"\0",
        each.der + each.der,
        each.data + each.data,
    ):
        refused(1, "certificate|PEM", wrong, each.now, intel)


def test_evidence_of_another_real_certificate(gramine, rats_tls):
    other = rats_tls.verify()
    with pytest.raises(EvidenceRefused, match="step 6"):
        check_binding(gramine.verify(), parse_quote(other.quote).report_data)


# Certificates made here.


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1()])
@pytest.mark.parametrize("form", Form)
def test_every_form(form, curve):
    draft = Draft(form, ec.generate_private_key(curve))
    for data in (draft.der(), armor(draft.der())):
        verified = verify_ratls(data, NOW, verify_evidence)
        assert verified.platform is PLATFORM
        assert (verified.certificate.form, verified.certificate.public_key) == (form, draft.public_key)
        assert verified.certificate.quote == quote_of(draft.report_data)


@pytest.mark.parametrize(
    ("name", "digest"), [("sha256", SHA256()), ("sha384", SHA384()), ("sha512", SHA512())]
)
@pytest.mark.parametrize("null", [False, True])
def test_hashes_and_null_parameters(name, digest, null):
    draft = Draft()
    draft.algorithm, draft.hash = ecdsa(f"{name}_ecdsa", null), digest
    assert verify_ratls(draft.der(), NOW, verify_evidence).certificate.hash == name


@pytest.mark.parametrize(("number", "name"), [(1, "sha256"), (7, "sha384"), (8, "sha512")])
def test_hashes_of_the_key(number, name):
    draft = Draft()
    draft.claims = cbor2.dumps(
        {"pubkey-hash": cbor2.dumps([number, hashlib.new(name, draft.public_key).digest()])}
    )
    draft.report_data = bound_report_data(TAGGED, draft.key.public_key(), draft.claims)
    assert verify_ratls(draft.der(), NOW, verify_evidence).certificate.claims.hash_algorithm == number


def test_a_nonce():
    draft = Draft()
    draft.claims = write_claims(draft.public_key, b"fresh")
    draft.report_data = bound_report_data(TAGGED, draft.key.public_key(), draft.claims)
    assert verify_ratls(draft.der(), NOW, verify_evidence).certificate.claims.nonce == b"fresh"


def test_the_tagged_form_is_taken_before_others():
    draft = Draft()
    draft.more_extensions = [(GRAMINE.value, False, b"unread"), (SGX_SDK.value, False, b"unread")]
    assert verify_ratls(draft.der(), NOW, verify_evidence).certificate.form is TAGGED


def test_what_the_vendors_verifier_raises_passes_through():
    def verify(quote):
        raise EvidenceRefused("SGX quote", 3, "somebody else's")

    with pytest.raises(EvidenceRefused, match="SGX quote, step 3"):
        verify_ratls(Draft().der(), NOW, verify)


def test_the_vendors_verifier_is_asked_last():
    draft = Draft()
    draft.issuer = "other"

    def verify(quote):
        raise AssertionError

    refused(2, "self-issued", draft.der(), verify=verify)


# Step 1.


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\x30\0",
        b"\x30\x80\0\0",
        b"\x30\x80" * 30_000,
        b"\x30\x84\xff\xff\xff\xff",
        b"-----BEGIN CERTIFICATE-----",
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n\xff\n-----END CERTIFICATE-----\n",
        b"-----BEGIN \xff-----\nAAAA\n-----END \xff-----\n",
    ],
)
def test_step_1_no_certificate(data):
    refused(1, "certificate", data)


def test_step_1_size():
    draft = Draft(GRAMINE)
    draft.more_extensions = [("1.2.3", False, bytes(MAX_CERTIFICATE_BYTES))]
    refused(1, "at most 65536", draft.der())
    refused(1, "at most 65536", bytes(100 * 1024 * 1024))


def test_step_1_pem():
    der = Draft().der()
    refused(1, "more than one", armor(der) + armor(der))
    refused(1, "PUBLIC KEY", armor(der).replace(b"CERTIFICATE", b"PUBLIC KEY"))
    refused(1, "certificate", armor(der)[:-30])


def test_step_1_ber():
    """The same certificate with a length in its longer form."""
    der = Draft().der()
    assert der[:2] == b"\x30\x82"
    refused(1, "DER|certificate", b"\x30\x83\0" + der[2:])


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_step_1_version(version):
    draft = Draft()
    draft.version = version
    refused(1, "version 3", draft.der())


def test_step_1_algorithms():
    draft = Draft()
    draft.algorithm = ecdsa("sha1_ecdsa")
    refused(1, "signed with ECDSA", draft.der())
    draft.algorithm = ecdsa("sha256_rsa", null=True)
    refused(1, "signed with ECDSA", draft.der())
    draft = Draft()
    draft.inner_algorithm = ecdsa("sha384_ecdsa")
    refused(1, "signed with ECDSA", draft.der())
    draft.inner_algorithm = ecdsa("sha256_ecdsa", null=True)
    refused(1, "signed with ECDSA", draft.der())


def encoded(public_key, form=PublicFormat.SubjectPublicKeyInfo):
    return public_key.public_bytes(Encoding.DER, form)


@pytest.mark.parametrize("kind", ["P-521", "K-256", "RSA", "Ed25519", "compressed", "off the curve"])
def test_step_1_other_keys(kind):
    draft = Draft()
    point = draft.key.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    head = bytes.fromhex("3039301306072a8648ce3d020106082a8648ce3d030107032200")
    keys = {
        "P-521": lambda: spki(ec.generate_private_key(ec.SECP521R1())),
        "K-256": lambda: spki(ec.generate_private_key(ec.SECP256K1())),
        "RSA": lambda: spki(rsa.generate_private_key(65537, 2048)),
        "Ed25519": lambda: spki(ed25519.Ed25519PrivateKey.generate()),
        "compressed": lambda: head + point,
        "off the curve": lambda: draft.public_key[:-1] + bytes([draft.public_key[-1] ^ 1]),
    }
    draft.public_key = keys[kind]()
    refused(1, "key", draft.der())


@pytest.mark.parametrize("oid", [TAGGED.value, GRAMINE.value, BASIC, "1.2.3"])
def test_step_1_an_extension_twice(oid):
    draft = Draft(TAGGED)
    draft.more_extensions = [(oid, False, b"\x30\0")] * 2
    refused(1, "twice", draft.der())


def test_step_1_evidence_twice_with_what_is_good_first():
    draft = Draft()
    draft.more_extensions = [(TAGGED.value, False, Draft().content())]
    refused(1, "twice", draft.der())


def test_step_1_critical_extensions():
    draft = Draft()
    draft.more_extensions = [("1.2.3", False, b"\5\0"), (BASIC, True, b"\x30\0")]
    verify_ratls(draft.der(), NOW, verify_evidence)
    draft.extensions = [(TAGGED.value, True, draft.content())]
    verify_ratls(draft.der(), NOW, verify_evidence)
    draft.more_extensions = [("1.2.3", True, b"\5\0")]
    refused(1, "critical", draft.der())


@pytest.mark.parametrize(
    "oid",
    [
        "2.23.133.5.4.1",
        "2.23.133.5.4.2",
        "2.23.133.5.4.9.1",
        "1.2.840.113741.1337.6",
        "0.6.9.42.840.113741.1337.2",
    ],
)
def test_step_1_another_oid(oid):
    draft = Draft()
    draft.extensions = [(oid, False, draft.content())]
    refused(1, "no evidence", draft.der())


def test_step_1_no_extensions():
    draft = Draft()
    draft.extensions = []
    refused(1, "no evidence|not a certificate", draft.der())


def test_step_1_two_legacy_forms():
    draft = Draft(GRAMINE)
    draft.more_extensions = [(SGX_SDK.value, False, draft.content())]
    refused(1, "two forms", draft.der())


BOMBS = {
    "nothing": b"",
    "no tag": cbor2.dumps([b"q", b"c"]),
    "another tag": cbor2.dumps(cbor2.CBORTag(60001, [b"q", b"c"])),
    "a longer tag": b"\xda\0\0\xea\x60" + cbor2.dumps([b"q", b"c"]),
    "the tag alone": b"\xd9\xea\x60",
    "the tag twice": b"\xd9\xea\x60" + cbor2.dumps(cbor2.CBORTag(60000, [b"q", b"c"])),
    "one entry": b"\xd9\xea\x60" + cbor2.dumps([b"q"]),
    "three entries": b"\xd9\xea\x60" + cbor2.dumps([b"q", b"c", b"e"]),
    "a map": b"\xd9\xea\x60" + cbor2.dumps({"q": b"c"}),
    "text": b"\xd9\xea\x60" + cbor2.dumps(["q", "c"]),
    "numbers": b"\xd9\xea\x60" + cbor2.dumps([1, 2]),
    "trailing": write_tagged(b"q", write_claims(b"k")) + b"\0",
    "truncated": write_tagged(b"q", write_claims(b"k"))[:-1],
    "indefinite": b"\xd9\xea\x60\x9f\x41q\x41c\xff",
    "indefinite bytes": b"\xd9\xea\x60\x82\x5f\x41q\xff\x41c",
    "longer lengths": b"\xd9\xea\x60\x82\x58\x01q\x41c",
    "deep": b"\xd9\xea\x60" + b"\x81" * 20_000,
    "deep tags": b"\xd9\xea\x60" + b"\xc1" * 20_000,
    "a huge array": b"\xd9\xea\x60\x9b" + b"\xff" * 8,
    "huge bytes": b"\xd9\xea\x60\x82\x5b\x7f" + b"\xff" * 7,
    "big number": b"\xd9\xea\x60\x82\xc2\x59\x10\0" + bytes(4096) + b"\x41c",
    "big exponent": b"\xd9\xea\x60\xc4\x82\x1b\x7f" + b"\xff" * 7 + b"\1",
    "expression": b"\xd9\xea\x60\x82\xd8\x23\x68(a+)+b$x\x41c",
    "date": b"\xd9\xea\x60\x82\xc0\x742013-03-21T20:04:00Z\x41c",
    "reference to itself": b"\xd9\xea\x60\xd8\x1c\x82\xd8\x1d\0\x41c",
    "shared": b"\xd9\xea\x60\xd8\x1c\x82\x41q\x41c",
    "set": b"\xd9\xea\x60\x82\xd9\1\2\x81\x41q\x41c",
    "self-described": b"\xd9\xea\x60\xd9\xd9\xf7\x82\x41q\x41c",
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS.keys())
def test_step_1_tagged_evidence_of_another_form(content):
    draft = Draft()
    draft.extensions = [(TAGGED.value, False, content)]
    refused(1, "tagged evidence", draft.der())


def claims_of(draft, **changed):
    return {"pubkey-hash": cbor2.dumps([1, hashlib.sha256(draft.public_key).digest()])} | changed


CLAIMS = {
    "nothing": lambda draft: b"",
    "an array": lambda draft: cbor2.dumps([b"pubkey-hash"]),
    "no key": lambda draft: cbor2.dumps({"nonce": b"n"}),
    "empty": lambda draft: cbor2.dumps({}),
    "numbers as names": lambda draft: cbor2.dumps(claims_of(draft) | {1: b""}),
    "bytes as names": lambda draft: cbor2.dumps(claims_of(draft) | {b"n": b""}),
    "a text": lambda draft: cbor2.dumps(claims_of(draft, nonce="n")),
    "a number": lambda draft: cbor2.dumps(claims_of(draft, nonce=1)),
    "an array of hashes": lambda draft: cbor2.dumps(claims_of(draft, **{"pubkey-hash": [1, b""]})),
    "twice": lambda draft: b"\xa2" + cbor2.dumps(claims_of(draft))[1:] * 2,
    "trailing": lambda draft: cbor2.dumps(claims_of(draft)) + b"\0",
    "indefinite": lambda draft: b"\xbf" + cbor2.dumps(claims_of(draft))[1:] + b"\xff",
    "a longer length": lambda draft: b"\xb8\1" + cbor2.dumps(claims_of(draft))[1:],
    "tagged": lambda draft: b"\xd9\xd9\xf7" + cbor2.dumps(claims_of(draft)),
    "deep": lambda draft: b"\xa1\x61n" * 10_000 + b"\0",
    "not UTF-8": lambda draft: b"\xa1\x61\xff\x40",
}


@pytest.mark.parametrize("claims", CLAIMS.values(), ids=CLAIMS.keys())
def test_step_1_claims_of_another_form(claims):
    draft = Draft()
    draft.claims = claims(draft)
    refused(1, "claims", draft.der())


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"\0" * 32,
        cbor2.dumps([1]),
        cbor2.dumps([1, b"", b""]),
        cbor2.dumps([0, b""]),
        cbor2.dumps([2, bytes(16)]),
        cbor2.dumps([9, bytes(32)]),
        cbor2.dumps([True, bytes(32)]),
        cbor2.dumps([1.0, bytes(32)]),
        cbor2.dumps([-1, bytes(32)]),
        cbor2.dumps(["sha-256", bytes(32)]),
        cbor2.dumps([1, "0" * 32]),
        cbor2.dumps([1, None]),
        cbor2.dumps({1: bytes(32)}),
        cbor2.dumps([1, bytes(32)]) + b"\0",
        b"\x82\x18\1\x40",
        b"\x82\xc2\x41\1\x40",
    ],
)
def test_step_1_hashes_of_another_form(entry):
    draft = Draft()
    draft.claims = cbor2.dumps({"pubkey-hash": entry})
    refused(1, "pubkey-hash", draft.der())


# Steps 2 to 6.


def test_step_2_another_issuer():
    draft = Draft()
    draft.issuer = "RATLS CA"
    refused(2, "self-issued", draft.der())


def test_step_2_another_signer():
    draft = Draft()
    draft.signer = ec.generate_private_key(ec.SECP256R1())
    refused(2, "own key", draft.der())


def test_step_2_another_hash():
    draft = Draft()
    draft.hash = SHA384()
    refused(2, "own key", draft.der())


@pytest.mark.parametrize(
    "signature", [b"", b"\0", b"\x30\6\2\1\0\2\1\0", b"\x30\6\2\1\1\2\1\1", b"\x30\0", bytes(64)]
)
def test_step_2_signatures_of_nobody(signature):
    tbs = Draft().tbs()
    refused(2, "own key", certificate(tbs, ecdsa("sha256_ecdsa"), signature).dump())


def test_step_2_the_signature_of_another_certificate():
    draft = Draft()
    draft.after += 1
    signature = draft.key.sign(draft.tbs().dump(), ec.ECDSA(SHA256()))
    draft.after -= 1
    refused(2, "own key", certificate(draft.tbs(), ecdsa("sha256_ecdsa"), signature).dump())


def test_step_3_validity():
    draft = Draft()
    der = draft.der()
    for now in (draft.before, draft.after):
        verify_ratls(der, now, verify_evidence)
    for now in (draft.after + 1, 2**70):
        refused(3, "expired at", der, now)
    for now in (draft.before - 1, 0, -1, -(2**70)):
        refused(3, "valid only from", der, now)


def test_step_3_a_validity_that_ends_before_it_starts():
    draft = Draft()
    draft.before, draft.after = draft.after, draft.before
    refused(3, "valid only from", draft.der())


def test_step_4_claims_of_another_key():
    draft = Draft()
    draft.claims = write_claims(spki(ec.generate_private_key(ec.SECP256R1())))
    draft.report_data = bound_report_data(TAGGED, draft.key.public_key(), draft.claims)
    refused(4, "another key", draft.der())


@pytest.mark.parametrize("size", [0, 31, 33])
def test_step_4_a_hash_of_another_size(size):
    draft = Draft()
    digest = hashlib.sha256(draft.public_key).digest().ljust(33, b"\0")[:size]
    draft.claims = cbor2.dumps({"pubkey-hash": cbor2.dumps([1, digest])})
    draft.report_data = bound_report_data(TAGGED, draft.key.public_key(), draft.claims)
    refused(4, "another key", draft.der())


@pytest.mark.parametrize(
    ("form", "other"), [(form, other) for form in Form for other in Form if form is not other]
)
def test_step_6_the_binding_of_another_form(form, other):
    draft = Draft(form)
    claims = draft.claims or write_claims(draft.public_key)
    draft.report_data = bound_report_data(other, draft.key.public_key(), claims)
    refused(6, "binds another", draft.der())


@pytest.mark.parametrize("form", Form)
def test_step_6_evidence_of_another_key(form):
    draft = Draft(form)
    draft.report_data = Draft(form).report_data
    refused(6, "binds another", draft.der())


@pytest.mark.parametrize("form", Form)
def test_step_6_every_byte_counts(form):
    draft = Draft(form)
    good = draft.report_data
    for index in range(64):
        draft.report_data = good[:index] + bytes([good[index] ^ 1]) + good[index + 1 :]
        refused(6, "binds another", draft.der())


@pytest.mark.parametrize("size", [0, 32, 63, 65])
def test_step_6_report_data_of_another_size(size):
    draft = Draft()
    draft.report_data = draft.report_data.ljust(65, b"\0")[:size]
    refused(6, "binds another", draft.der())


# Anything at all.


def only_refuses(data):
    try:
        return verify_ratls(data, NOW, verify_evidence)
    except EvidenceRefused:
        return None


@given(st.binary(max_size=500) | st.binary(max_size=300).map(lambda data: b"\x30\x82\1\0" + data))
def test_any_bytes(data):
    assert only_refuses(data) is None


@given(st.binary(max_size=300))
def test_any_pem(data):
    assert only_refuses(armor(data)) is None
    assert only_refuses(b"-----BEGIN CERTIFICATE-----\n" + data + b"\n-----END CERTIFICATE-----\n") is None


ORIGINAL = Draft().der()


@pytest.mark.exhaustive
@settings(max_examples=500)
@given(
    st.lists(st.tuples(st.integers(0, len(ORIGINAL) - 1), st.integers(0, 255)), min_size=1, max_size=3),
    st.integers(0, len(ORIGINAL)),
)
def test_any_change(changes, cut):
    data = bytearray(ORIGINAL)
    for at, byte in changes:
        data[at] = byte
    for changed in (bytes(data), bytes(data[:cut] + data[cut + 1 :]), bytes(data[:cut] + b"\0" + data[cut:])):
        if changed != ORIGINAL:
            assert only_refuses(changed) is None


@given(st.binary(max_size=100), st.sampled_from(Form))
def test_any_content_of_an_extension(content, form):
    draft = Draft(form, KEY)
    draft.extensions = [(form.value, False, content)]
    try:
        read_certificate(draft.der())
    except EvidenceRefused:
        return
    assert form is not TAGGED


CBOR = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=40) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=12) | st.just("pubkey-hash"), inner, max_size=3)
        | st.builds(cbor2.CBORTag, st.integers(0, 70000), inner)
    ),
    max_leaves=8,
)


@given(CBOR)
def test_any_claims(claims):
    draft = Draft(TAGGED, KEY)
    draft.claims = cbor2.dumps(claims)
    draft.report_data = bound_report_data(TAGGED, KEY.public_key(), draft.claims)
    assert only_refuses(draft.der()) is None


@given(CBOR)
def test_any_tagged_evidence(content):
    draft = Draft(TAGGED, KEY)
    draft.extensions = [(TAGGED.value, False, b"\xd9\xea\x60" + cbor2.dumps(content))]
    assert only_refuses(draft.der()) is None


@given(
    st.dictionaries(
        st.text(max_size=12).filter(lambda name: name != "pubkey-hash"), st.binary(max_size=40), max_size=4
    )
)
def test_any_further_claims_are_bound(further):
    draft = Draft(TAGGED, KEY)
    draft.claims = cbor2.dumps(claims_of(draft, **further))
    draft.report_data = bound_report_data(TAGGED, KEY.public_key(), draft.claims)
    verified = verify_ratls(draft.der(), NOW, verify_evidence)
    assert verified.certificate.claims.nonce == further.get("nonce", b"")
    assert verified.certificate.not_after == NOW + DAY


KEY = ec.generate_private_key(ec.SECP256R1())
