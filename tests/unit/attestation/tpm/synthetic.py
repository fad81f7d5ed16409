"""A TPM's evidence made here, by keys of ours."""

from __future__ import annotations

import base64
import hashlib
import struct

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from confide.errors import AttestationRefused

from ..azure.synthetic import PCRS, quote_message, sign

RSASSA, SHA256 = 0x0014, 0x000B


def der(key):
    public = key.public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def marshalled(signature, scheme=RSASSA, algorithm=SHA256, tail=b""):
    return struct.pack(">HHH", scheme, algorithm, len(signature)) + signature + tail


def evidence(key, report_data, *, pcrs=PCRS, listed=None, message=None, signature=None, **changed):
    """Evidence by `key` that lists other PCRs where told; `changed` replaces members."""
    message = quote_message(report_data, pcrs) if message is None else message
    signature = marshalled(sign(key, message)) if signature is None else signature
    quote = {
        "message": base64.b64encode(message).decode(),
        "signature": base64.b64encode(signature).decode(),
        "pcrs": [value.hex() for value in pcrs] if listed is None else listed,
    }
    return {"ak_public": base64.b64encode(der(key)).decode(), "tpm_quote": quote, **changed}


class Enrolled:
    """Attestation keys that a broker enrolled."""

    def __init__(self, *keys: RSAPrivateKey) -> None:
        self._keys = {hashlib.sha256(der(key)).hexdigest(): der(key) for key in keys}

    def __call__(self, identity):
        if identity not in self._keys:
            raise AttestationRefused("not enrolled")
        return self._keys[identity]
