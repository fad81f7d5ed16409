"""The evidence in an attested server's TLS certificate: what a broker shows before anybody hands it a key.

An extension holds a conceptual message wrapper (draft-ietf-rats-msg-wrap, `id-pe-cmw`) in JSON: media type and an
attestation of the KBS protocol, as a workload would send it. What is attested is the certificate's own key, and as
`launch` the server's authority, which clients pin from then on. Format: docs/formats/broker-identity.md.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field

from confide.attestation.evidence import (
    PUBKEY_ALGORITHM,
    Attestation,
    RuntimeData,
    StatedImage,
    TeeEvidence,
    TeePubkey,
    WireModel,
)
from confide.errors import InvalidFormat

OID = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.35")
MEDIA_TYPE = "application/vnd.confide.attestation+json"
NONCE = "broker's certificate"
"""In the place of a challenge, and like none: what makes this evidence fresh is that its key is made at start."""
AUTHORITY = "authority"
ROLE = "broker"
MAX_BYTES = 256 * 1024

Attester = Callable[[RuntimeData], Mapping[str, Any]]


class AttestedKey(WireModel):
    """What the extension says.

    Attributes:
        tee: kind of TEE, by the KBS protocol's name.
        attestation: of the certificate's key.
    """

    tee: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,32}$")]
    attestation: Attestation


def evidence_extension(
    key: ec.EllipticCurvePublicKey,
    authority: str,
    tee: str,
    attester: Attester,
    image: StatedImage,
    nonce: str = NONCE,
    said: Mapping[str, str] | None = None,
) -> x509.UnrecognizedExtension:
    """Have evidence made for a key, and return the extension that carries it.

    Args:
        key: of the certificate, on P-256.
        authority: fingerprint of the server's authority, 64 hex digits.
        tee: kind of TEE.
        attester: has evidence made.
        image: what the server says that it is.
        nonce: says what server it is of; and for whom, where somebody asked.
        said: what else the evidence binds, name -> value.

    Raises:
        AttestationRefused: the TEE gives none.
    """
    runtime_data = RuntimeData(
        nonce=nonce, tee_pubkey=public_jwk(key), image=image, launch={**(said or {}), AUTHORITY: authority}
    )
    evidence = TeeEvidence(primary_evidence=dict(attester(runtime_data)))
    attested = AttestedKey(tee=tee, attestation=Attestation(runtime_data=runtime_data, tee_evidence=evidence))
    content = base64.urlsafe_b64encode(json.dumps(attested.wire()).encode()).rstrip(b"=").decode()
    return x509.UnrecognizedExtension(OID, asn1.encode_der(json.dumps([MEDIA_TYPE, content])))


def read_extension(certificate: x509.Certificate) -> AttestedKey:
    """Return what the extension says; nothing in it is verified.

    Raises:
        InvalidFormat: there is none, or it is of another form.
    """
    try:
        value = certificate.extensions.get_extension_for_oid(OID).value
    except x509.ExtensionNotFound:
        raise InvalidFormat("the certificate carries no evidence: it is of no attested server") from None
    if not isinstance(value, x509.UnrecognizedExtension) or len(value.value) > MAX_BYTES:
        raise InvalidFormat("the evidence in the certificate is too large")
    try:
        media_type, content = json.loads(asn1.decode_der(str, value.value))
        data = base64.urlsafe_b64decode(content + "=" * (-len(content) % 4))
    except (ValueError, TypeError, RecursionError):
        raise InvalidFormat("the evidence in the certificate does not read") from None
    if media_type != MEDIA_TYPE:
        raise InvalidFormat("the evidence in the certificate is of another kind")
    return AttestedKey.parse(data, MAX_BYTES)


def public_jwk(key: ec.EllipticCurvePublicKey) -> TeePubkey:
    """Return a key on P-256 as the KBS protocol's JWK."""
    numbers = key.public_numbers()
    return TeePubkey(
        kty="EC", crv="P-256", alg=PUBKEY_ALGORITHM, x=_base64url(numbers.x), y=_base64url(numbers.y)
    )


def _base64url(coordinate: int) -> str:
    return base64.urlsafe_b64encode(coordinate.to_bytes(32, "big")).rstrip(b"=").decode()
