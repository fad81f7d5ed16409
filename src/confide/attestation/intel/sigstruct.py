"""SIGSTRUCT: what the author of an SGX enclave signs, and the processor checks when the enclave starts.

Source: Intel SDM volume 3D, "Enclave Signature Structure (SIGSTRUCT)". It is no evidence: nothing in it says that an
enclave runs anywhere. It tells which measurements to expect in evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from confide.attestation.layout import Field, Layout
from confide.errors import EvidenceRefused, InvalidFormat

EVIDENCE = "SIGSTRUCT"
SIGSTRUCT_BYTES = 1808
HEADER = bytes.fromhex("06000000e10000000000010000000000")
_HEADER2 = bytes.fromhex("01010000600000006000000001000000")
_EXPONENT = 3
_DEBUG = 0x02

LAYOUT = Layout(
    EVIDENCE,
    SIGSTRUCT_BYTES,
    (
        Field("header", 0, 16),
        Field("vendor", 16, 4, number=True),
        Field("date", 20, 4, number=True),
        Field("header2", 24, 16),
        Field("swdefined", 40, 4),
        Field("modulus", 128, 384),
        Field("exponent", 512, 4, number=True),
        Field("signature", 516, 384),
        Field("misc_select", 900, 4),
        Field("misc_mask", 904, 4),
        Field("isv_family_id", 912, 16),
        Field("attributes", 928, 16),
        Field("attributes_mask", 944, 16),
        Field("mrenclave", 960, 32),
        Field("isv_ext_prod_id", 1008, 16),
        Field("isv_prod_id", 1024, 2, number=True),
        Field("isv_svn", 1026, 2, number=True),
        Field("q1", 1040, 384),
        Field("q2", 1424, 384),
    ),
)


@dataclass(frozen=True)
class Sigstruct:
    """A SIGSTRUCT.

    Attributes:
        fields: field of the layout -> value; numbers, else bytes.
        raw: all of it, 1808 bytes.
    """

    fields: Mapping[str, int | bytes]
    raw: bytes = field(repr=False)

    def number(self, name: str) -> int:
        """Return a field that is a number."""
        value = self.fields[name]
        assert isinstance(value, int)
        return value

    def octets(self, name: str) -> bytes:
        """Return a field that is bytes."""
        value = self.fields[name]
        assert isinstance(value, bytes)
        return value

    @property
    def mrsigner(self) -> bytes:
        """Identity of its author: the SHA-256 of the modulus."""
        return hashlib.sha256(self.octets("modulus")).digest()

    @property
    def date(self) -> str:
        """Date that the author put into it, YYYY-MM-DD; empty where it is zero."""
        digits = f"{self.number('date'):08x}"
        return f"{digits[:4]}-{digits[4:6]}-{digits[6:]}" if self.number("date") else ""

    @property
    def debug(self) -> bool:
        """Whether the enclave starts in debug mode."""
        return bool(self.octets("attributes")[0] & _DEBUG)

    @property
    def debug_possible(self) -> bool:
        """Whether whoever starts the enclave may choose debug mode: the mask leaves the attribute open."""
        return not self.octets("attributes_mask")[0] & _DEBUG


def parse_sigstruct(data: bytes) -> Sigstruct:
    """Read a SIGSTRUCT.

    Raises:
        InvalidFormat: not 1808 bytes, or other constants than the processor demands.
    """
    if len(data) != SIGSTRUCT_BYTES:
        raise InvalidFormat(f"{EVIDENCE}: {len(data)} bytes, it has {SIGSTRUCT_BYTES}")
    found = Sigstruct(LAYOUT.read(data), bytes(data))
    if found.octets("header") != HEADER or found.octets("header2") != _HEADER2:
        raise InvalidFormat(f"{EVIDENCE}: its header is not the one that processors demand")
    return found


def verify_sigstruct(data: bytes) -> Sigstruct:
    """Verify a SIGSTRUCT.

    1. It reads: size and constants.
    2. Its key is RSA of 3072 bits with exponent 3.
    3. That key signed it: RSASSA-PKCS1-v1_5 with SHA-256 over bytes 0 to 127 and 900 to 1027.
    4. The enclave does not start in debug mode.

    Whose key it is, MRSIGNER says: no authority vouches for it.

    Raises:
        EvidenceRefused: names the step.
    """
    try:
        found = parse_sigstruct(data)
    except InvalidFormat as error:
        raise EvidenceRefused(EVIDENCE, 1, str(error)) from None
    modulus = int.from_bytes(found.octets("modulus"), "little")
    if found.number("exponent") != _EXPONENT or modulus.bit_length() != 3072:
        raise EvidenceRefused(EVIDENCE, 2, "its key is not RSA of 3072 bits with exponent 3")
    signature = found.octets("signature")[::-1]
    try:
        key = RSAPublicNumbers(_EXPONENT, modulus).public_key()
        key.verify(signature, found.raw[:128] + found.raw[900:1028], PKCS1v15(), SHA256())
    except ValueError:
        raise EvidenceRefused(EVIDENCE, 2, "its key is not an RSA key") from None
    except InvalidSignature:
        raise EvidenceRefused(EVIDENCE, 3, "its key did not sign it") from None
    if found.debug:
        raise EvidenceRefused(
            EVIDENCE, 4, "the enclave starts in debug mode: whoever runs it can read its memory"
        )
    return found
