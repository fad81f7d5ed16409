"""Making certificates with evidence, inside the TEE that the evidence is of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from confide.attestation.ratls.claims import write_claims, write_tagged
from confide.attestation.ratls.forms import MAX_CERTIFICATE_BYTES, Form, bound_report_data, spki
from confide.errors import InvalidFormat


def make_certificate(
    key: ec.EllipticCurvePrivateKey,
    quote_of: Callable[[bytes], bytes],
    *,
    not_before: int,
    not_after: int,
    form: Form = Form.TAGGED,
    nonce: bytes = b"",
    name: str = "RATLS",
) -> bytes:
    """Make a certificate, and sign it with its own key.

    Args:
        key: on P-256 or P-384.
        quote_of: from 64 bytes of report data to a quote over them; whatever it raises passes through.
        not_before: Unix seconds.
        not_after: Unix seconds.
        form: in which it carries the evidence.
        nonce: of whoever will verify it; in the tagged form only.
        name: common name of subject and issuer.

    Returns:
        PEM.

    Raises:
        InvalidFormat: another key, form, name or validity than there can be, or a certificate of more than 64 KiB.
    """
    public_key = key.public_key()
    if not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
        raise InvalidFormat(f"the key is on {key.curve.name}, not on P-256 or P-384")
    if nonce and form is not Form.TAGGED:
        raise InvalidFormat("only the tagged form carries a nonce")
    claims = write_claims(spki(public_key), nonce) if form is Form.TAGGED else b""
    quote = quote_of(bound_report_data(form, public_key, claims))
    content = write_tagged(quote, claims) if form is Form.TAGGED else quote
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(form.value), content)
    try:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .issuer_name(subject)
            .subject_name(subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.fromtimestamp(not_before, UTC))
            .not_valid_after(datetime.fromtimestamp(not_after, UTC))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(extension, critical=False)
        )
        digest = SHA384() if isinstance(key.curve, ec.SECP384R1) else SHA256()
        encoded = builder.sign(key, digest).public_bytes(Encoding.PEM)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidFormat(f"certificate: {error}") from None
    if len(encoded) > MAX_CERTIFICATE_BYTES:
        raise InvalidFormat(f"certificate: {len(encoded)} bytes, at most {MAX_CERTIFICATE_BYTES} are allowed")
    return encoded
