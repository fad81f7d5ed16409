"""Put an author's signature into a SIGSTRUCT.

Source: Intel SDM volume 3D, "Enclave Signature Structure (SIGSTRUCT)": the signature is RSASSA-PKCS1-v1_5 with SHA-256
and exponent 3; Q1 and Q2, from which the processor verifies it, are the quotients of s^2 and of s * (s^2 mod n) by n.
"""

from __future__ import annotations

from typing import Protocol

from confide.attestation.intel.sigstruct import parse_sigstruct, verify_sigstruct

EXPONENT = 3
KEY_BITS = 3072
_NUMBER_BYTES = KEY_BITS // 8
_MODULUS, _EXPONENT_AT, _SIGNATURE, _Q1, _Q2 = 128, 512, 516, 1040, 1424


class AuthorKey(Protocol):
    """The RSA key of an enclave's author: 3072 bits, exponent 3."""

    @property
    def modulus(self) -> int:
        """The public modulus, whose hash is MRSIGNER."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the RSASSA-PKCS1-v1_5 signature with SHA-256, 384 bytes big-endian."""
        ...


def sign_sigstruct(unsigned: bytes, key: AuthorKey) -> bytes:
    """Return the SIGSTRUCT with this author's key and signature in place of what was there, verified.

    Args:
        unsigned: a SIGSTRUCT, by whomever signed.
        key: of the author.

    Raises:
        InvalidFormat: not a SIGSTRUCT.
        EvidenceRefused: what came out does not verify, as with a key of another kind.
    """
    parse_sigstruct(unsigned)
    made, n = bytearray(unsigned), key.modulus
    s = int.from_bytes(key.sign(bytes(made[:128] + made[900:1028])), "big")
    q1, rest = divmod(s * s, n)
    q2 = s * rest // n
    for at, number in ((_MODULUS, n), (_SIGNATURE, s), (_Q1, q1), (_Q2, q2)):
        made[at : at + _NUMBER_BYTES] = number.to_bytes(_NUMBER_BYTES, "little")
    made[_EXPONENT_AT : _EXPONENT_AT + 4] = EXPONENT.to_bytes(4, "little")
    verify_sigstruct(bytes(made))
    return bytes(made)
