"""Forms in which certificates carry evidence, and what each puts into the evidence's report data.

Sources: TCG DICE Attestation Architecture (tagged evidence), Interoperable RA-TLS X.509 Cert and Evidence Formats
(Confidential Computing Consortium), `ra_tls.h` of Gramine, `sgx_ttls` of the Intel SGX SDK.
"""

from __future__ import annotations

import hashlib
from enum import Enum

from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from confide.attestation.report_data import REPORT_DATA_BYTES

MAX_CERTIFICATE_BYTES = 64 * 1024


class Form(Enum):
    """A form, by the OID of its extension.

    `TAGGED`: a quote and claims in CBOR; the report data is the SHA-256 of the claims, which name the key.
    `GRAMINE`: a quote; the report data is the SHA-256 of the key as SubjectPublicKeyInfo, DER.
    `SGX_SDK`: a quote; the report data is the SHA-256 of the key as PEM with the NUL that ends a string of C.
    """

    TAGGED = "2.23.133.5.4.9"
    GRAMINE = "0.6.9.42.840.113741.1337.6"
    SGX_SDK = "1.2.840.113741.1.13.1"


def bound_report_data(form: Form, key: EllipticCurvePublicKey, claims: bytes) -> bytes:
    """Return the 64 bytes of report data that bind a key in a form.

    Args:
        form: of the certificate.
        key: of the certificate.
        claims: as encoded; of `TAGGED` only.
    """
    if form is Form.TAGGED:
        content = claims
    elif form is Form.GRAMINE:
        content = spki(key)
    else:
        content = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) + b"\0"
    return hashlib.sha256(content).digest().ljust(REPORT_DATA_BYTES, b"\0")


def spki(key: EllipticCurvePublicKey) -> bytes:
    """Return a key as SubjectPublicKeyInfo, DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
