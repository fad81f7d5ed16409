"""TPM 2.0 quotes: read and verified against a key and the PCR values that they summarise.

Source: Trusted Platform Module Library, Part 2: Structures (TPMS_ATTEST, TPMS_QUOTE_INFO, TPML_PCR_SELECTION,
TPMT_SIGNATURE; big-endian), and Part 1, "Attestation": the digest is over the selected PCRs in ascending order.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from confide.attestation.tpm.structures import TpmReader
from confide.errors import InvalidFormat

MAX_QUOTE_BYTES = 512
PCR_COUNT = 24
PCR_BYTES = 32

_GENERATED = 0xFF544347  # TPM_GENERATED_VALUE: a restricted key signs nothing from outside that starts so
_ATTEST_QUOTE = 0x8018
_SHA256 = 0x000B
_RSASSA = 0x0014
_ALL_PCRS = b"\xff\xff\xff"


@dataclass(frozen=True)
class TpmQuote:
    """A quote over all 24 PCRs of the SHA-256 bank, read and not verified.

    Attributes:
        extra_data: what the asker wanted signed along, at most 66 bytes.
        pcr_digest: SHA-256 of the 24 values.
        firmware: version of the TPM's firmware, as its vendor counts.
    """

    extra_data: bytes
    pcr_digest: bytes
    firmware: int


def read_quote(message: bytes) -> TpmQuote:
    """Read a TPMS_ATTEST of type quote.

    Raises:
        InvalidFormat: too large, truncated, followed by more, not made by a TPM, not a quote, or not over exactly
            the 24 PCRs of the SHA-256 bank.
    """
    if len(message) > MAX_QUOTE_BYTES:
        raise InvalidFormat(f"TPM quote: {len(message)} bytes, at most {MAX_QUOTE_BYTES} are allowed")
    rest = TpmReader(message)
    if rest.number(4) != _GENERATED:
        raise InvalidFormat("TPM quote: not made by a TPM (magic)")
    if rest.number(2) != _ATTEST_QUOTE:
        raise InvalidFormat("TPM quote: another kind of attestation")
    rest.sized()  # qualified signer: the key is known by the signature
    extra_data = rest.sized()
    if len(extra_data) > 66:
        raise InvalidFormat("TPM quote: extra data of more than 66 bytes")
    rest.take(17)  # clock, resetCount, restartCount, safe
    firmware = rest.number(8)
    if rest.number(4) != 1 or rest.number(2) != _SHA256:
        raise InvalidFormat("TPM quote: not over the SHA-256 bank alone")
    if rest.take(rest.number(1)) != _ALL_PCRS:
        raise InvalidFormat(f"TPM quote: not over all {PCR_COUNT} PCRs")
    pcr_digest = rest.sized()
    if len(pcr_digest) != PCR_BYTES or rest.left():
        raise InvalidFormat("TPM quote: does not end with a SHA-256 digest")
    return TpmQuote(extra_data, pcr_digest, firmware)


def read_signature(signature: bytes) -> bytes:
    """Return the RSASSA signature with SHA-256 that a TPMT_SIGNATURE holds.

    Raises:
        InvalidFormat: truncated, followed by more, or of another scheme.
    """
    rest = TpmReader(signature)
    if (rest.number(2), rest.number(2)) != (_RSASSA, _SHA256):
        raise InvalidFormat("TPM signature: not RSASSA with SHA-256")
    raw = rest.sized()
    if rest.left():
        raise InvalidFormat("TPM signature: more after its end")
    return raw


def signed_by(key: RSAPublicKey, message: bytes, signature: bytes) -> bool:
    """Return whether `signature` is RSASSA-PKCS1-v1_5 with SHA-256 over `message` by `key`."""
    try:
        key.verify(signature, message, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True


def has_digest(pcrs: Sequence[bytes], digest: bytes) -> bool:
    """Return whether `pcrs`, the 24 values of the SHA-256 bank, are those that `digest` summarises."""
    if len(pcrs) != PCR_COUNT or any(len(value) != PCR_BYTES for value in pcrs):
        return False
    return hmac.compare_digest(hashlib.sha256(b"".join(pcrs)).digest(), digest)
