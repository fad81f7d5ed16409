"""Certificates with evidence: read, and not verified.

They are read with asn1crypto and not with `cryptography`, which refuses those of Gramine before 1.6: its TLS library
wrote NULL parameters into ECDSA's algorithm identifier, against RFC 5758, section 3.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from asn1crypto import pem, x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from confide.attestation.ratls.claims import Claims, read_claims, read_tagged
from confide.attestation.ratls.forms import MAX_CERTIFICATE_BYTES, Form, spki
from confide.errors import EvidenceRefused, InvalidFormat

EVIDENCE = "RA-TLS certificate"

_VERSION_3 = "v3"
_DER_SEQUENCE = b"\x30"
_MAX_EXTENSIONS = 32
_MAX_OTHER_BYTES = 2 * 1024
_HASHES = {"sha256_ecdsa": "sha256", "sha384_ecdsa": "sha384", "sha512_ecdsa": "sha512"}
_UNDERSTOOD = {"basic_constraints", "key_usage", "extended_key_usage", "subject_alt_name"}
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError)


@dataclass(frozen=True)
class RatlsCertificate:
    """A certificate with evidence.

    Attributes:
        form: in which it carries evidence.
        quote: SGX or TDX quote.
        encoded_claims: as the quote's report data binds them; empty but in the tagged form.
        claims: what they say; None but in the tagged form.
        key: the key that is certified: on P-256 or P-384.
        public_key: that key as SubjectPublicKeyInfo, DER, as it stands in the certificate.
        not_before: Unix seconds.
        not_after: Unix seconds.
        self_issued: whether it names itself as its issuer.
        hash: of its signature (ECDSA): `sha256`, `sha384` or `sha512`.
        signature: DER.
        signed: what is signed.
    """

    form: Form
    quote: bytes = field(repr=False)
    encoded_claims: bytes = field(repr=False)
    claims: Claims | None
    key: ec.EllipticCurvePublicKey
    public_key: bytes = field(repr=False)
    not_before: int
    not_after: int
    self_issued: bool
    hash: str
    signature: bytes = field(repr=False)
    signed: bytes = field(repr=False)


def read_certificate(data: bytes) -> RatlsCertificate:
    """Read a certificate, DER or PEM. Of several forms of evidence in it, the tagged one is taken.

    Raises:
        EvidenceRefused: step 1: more than 64 KiB, not one certificate in DER of version 3, an extension that is there
            twice or is critical and not known, no evidence or evidence of another form, a key that is not on P-256 or
            P-384.
    """
    try:
        return _read(data)
    except InvalidFormat as error:
        raise EvidenceRefused(EVIDENCE, 1, str(error)) from None


def _read(data: bytes) -> RatlsCertificate:
    if len(data) > MAX_CERTIFICATE_BYTES:
        raise InvalidFormat(f"{len(data)} bytes, at most {MAX_CERTIFICATE_BYTES} are allowed")
    try:
        parsed = _parse(data)
        extensions = _extensions(parsed)
        tbs = parsed["tbs_certificate"]
        algorithm, inner = parsed["signature_algorithm"], tbs["signature"]
        before, after = (tbs["validity"][name].native for name in ("not_before", "not_after"))
        self_issued = tbs["subject"].dump() == tbs["issuer"].dump()
        public_key, signature = tbs["subject_public_key_info"].dump(), parsed["signature_value"].native
        version, signed, name = tbs["version"].native, tbs.dump(), algorithm["algorithm"].native
    except _UNREADABLE:
        raise InvalidFormat("not a certificate") from None
    if version != _VERSION_3 or name not in _HASHES or algorithm.dump() != inner.dump():
        raise InvalidFormat(
            "not a certificate of version 3, signed with ECDSA and SHA-256, SHA-384 or SHA-512"
        )
    if not isinstance(before, datetime) or not isinstance(after, datetime):
        raise InvalidFormat("validity outside the calendar")
    form, content = _evidence(extensions)
    quote, encoded_claims = read_tagged(content) if form is Form.TAGGED else (content, b"")
    return RatlsCertificate(
        form=form,
        quote=quote,
        encoded_claims=encoded_claims,
        claims=read_claims(encoded_claims) if form is Form.TAGGED else None,
        key=_key(public_key),
        public_key=public_key,
        not_before=int(before.timestamp()),
        not_after=int(after.timestamp()),
        self_issued=self_issued,
        hash=_HASHES[name],
        signature=signature,
        signed=signed,
    )


def _parse(data: bytes) -> x509.Certificate:
    """Parse all of it now, which asn1crypto would put off, and refuse what is BER and not DER."""
    der = data
    if data.lstrip().startswith(b"-----BEGIN "):  # not anywhere: quotes have certificates in PEM inside
        if data.count(b"-----BEGIN ") != 1:
            raise InvalidFormat("more than one PEM block")
        kind, _, der = pem.unarmor(data)
        if kind != "CERTIFICATE":
            raise InvalidFormat(f"not a certificate but {kind[:40]}")
    parsed = x509.Certificate.load(der, strict=True)
    _bound(parsed["tbs_certificate"])
    _ = parsed.native
    if parsed.dump(force=True) != der:
        raise InvalidFormat("not a certificate in DER")
    return parsed


def _bound(body: x509.TbsCertificate) -> None:
    """Refuse what a certificate with evidence has no use for, and what takes asn1crypto a second to read.

    Its parts are sized here before anything in them is read.
    """
    extensions = body["extensions"]
    if len(extensions) > _MAX_EXTENSIONS:
        raise InvalidFormat(f"{len(extensions)} extensions, at most {_MAX_EXTENSIONS} are allowed")
    forms = {form.value for form in Form}
    others = sum(len(each.dump()) for each in extensions if each["extn_id"].dotted not in forms)
    names = len(body["subject"].dump()) + len(body["issuer"].dump())
    if names + others > _MAX_OTHER_BYTES:
        raise InvalidFormat(
            f"{names + others} bytes beside the evidence, at most {_MAX_OTHER_BYTES} are allowed"
        )


def _extensions(parsed: x509.Certificate) -> dict[str, bytes]:
    """Return OID -> content."""
    found: dict[str, bytes] = {}
    forms = {form.value for form in Form}
    for extension in parsed["tbs_certificate"]["extensions"]:
        oid = extension["extn_id"].dotted
        if oid in found:
            raise InvalidFormat(f"extension {oid} is there twice")
        if (
            extension["critical"].native
            and extension["extn_id"].native not in _UNDERSTOOD
            and oid not in forms
        ):
            raise InvalidFormat(f"extension {oid} is critical and not known")
        found[oid] = extension["extn_value"].contents
    return found


def _evidence(extensions: dict[str, bytes]) -> tuple[Form, bytes]:
    given = [form for form in Form if form.value in extensions]
    if given == [Form.SGX_SDK] and extensions[Form.SGX_SDK.value].startswith(_DER_SEQUENCE):
        raise InvalidFormat("the certificate of an Intel platform (PCK), which carries no evidence")
    if not given:
        raise InvalidFormat("no evidence of a form that is known")
    if len(given) > 1 and Form.TAGGED not in given:
        raise InvalidFormat("evidence of two forms")
    return given[0], extensions[given[0].value]


def _key(public_key: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(public_key)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidFormat("not a public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(
        key.curve, ec.SECP256R1 | ec.SECP384R1
    ):
        raise InvalidFormat("the key is not on P-256 or P-384")
    if spki(key) != public_key:
        raise InvalidFormat("the key is not in the encoding that hashes of it are of")
    return key
