"""An author's signature in place of another: it verifies, and the processor's helper numbers are right."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from confide.attestation.intel.sigstruct import SIGSTRUCT_BYTES, parse_sigstruct, verify_sigstruct
from confide.attestation.intel.sigstruct_signing import sign_sigstruct
from confide.errors import EvidenceRefused, InvalidFormat

from .test_sigstruct import author, made  # noqa: F401


class Key:
    def __init__(self, key):
        self._key = key
        self.modulus = key.public_key().public_numbers().n

    def sign(self, data):
        return self._key.sign(data, PKCS1v15(), SHA256())


def number(raw, at):
    return int.from_bytes(raw[at : at + 384], "little")


@pytest.mark.exhaustive
def test_another_author_signs_the_same_enclave(author):  # noqa: F811
    before = made(author)
    other = Key(rsa.generate_private_key(3, 3072))
    signed = sign_sigstruct(before, other)
    found, was = verify_sigstruct(signed), parse_sigstruct(before)
    assert found.octets("mrenclave") == was.octets("mrenclave")
    assert number(signed, 128) == other.modulus
    assert found.mrsigner != was.mrsigner


def test_quotients_are_those_that_the_processor_computes_with(author):  # noqa: F811
    key = Key(author)
    signed = sign_sigstruct(made(author), key)
    n, s, q1, q2 = key.modulus, number(signed, 516), number(signed, 1040), number(signed, 1424)
    square = s * s - q1 * n
    assert 0 <= square < n
    cube = s * square - q2 * n
    assert 0 <= cube < n
    assert cube == pow(s, 3, n)


@pytest.mark.parametrize(("exponent", "bits"), [(65537, 3072), (3, 2048)])
def test_a_key_that_processors_do_not_take(author, exponent, bits):  # noqa: F811
    with pytest.raises(EvidenceRefused):
        sign_sigstruct(made(author), Key(rsa.generate_private_key(exponent, bits)))


def test_a_signature_of_other_bytes(author):  # noqa: F811
    class Liar(Key):
        def sign(self, data):
            return super().sign(data + b"x")

    with pytest.raises(EvidenceRefused, match="did not sign"):
        sign_sigstruct(made(author), Liar(author))


@pytest.mark.parametrize("data", [b"", bytes(SIGSTRUCT_BYTES)])
def test_no_sigstruct(author, data):  # noqa: F811
    with pytest.raises(InvalidFormat):
        sign_sigstruct(data, Key(author))
