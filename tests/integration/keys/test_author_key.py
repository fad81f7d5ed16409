"""An author's key that stays in a real token, SoftHSM, and signs there."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.hashes import SHA256

from confide.errors import InvalidFormat, Misuse, ProviderRefused, WrongPassphrase
from confide.keys.author_key import open_author_key

from .conftest import PIN


def make(softhsm, label: str, bits: int, exponent: bytes) -> str:
    import pkcs11

    token = pkcs11.lib(str(softhsm.module)).get_token(token_label=softhsm.label)
    with token.open(rw=True, user_pin=PIN) as session:
        session.generate_keypair(
            pkcs11.KeyType.RSA,
            bits,
            label=label,
            store=True,
            public_template={pkcs11.Attribute.PUBLIC_EXPONENT: exponent},
        )
    return softhsm.uri(f"object={label};type=private")


@pytest.fixture(scope="module")
def where(softhsm):
    return make(softhsm, "author", 3072, b"\x03")


def test_it_signs_in_the_token(where):
    key = open_author_key(where, PIN.encode())
    public = RSAPublicNumbers(3, key.modulus).public_key()
    public.verify(key.sign(b"data"), b"data", PKCS1v15(), SHA256())
    with pytest.raises(InvalidSignature):
        public.verify(key.sign(b"data"), b"other", PKCS1v15(), SHA256())


def test_a_wrong_pin(where):
    with pytest.raises(WrongPassphrase):
        open_author_key(where, b"654321")


def test_a_key_that_sgx_does_not_take(softhsm):
    usual = make(softhsm, "usual", 2048, b"\x01\x00\x01")
    with pytest.raises(InvalidFormat, match="2048 bits and exponent 65537"):
        open_author_key(usual, PIN.encode())


def test_a_key_that_is_not_there(softhsm):
    with pytest.raises(ProviderRefused, match="0 private keys"):
        open_author_key(softhsm.uri("object=none"), PIN.encode())


def test_a_key_of_another_kind(softhsm):
    with pytest.raises(Misuse, match="type=private"):
        open_author_key(softhsm.uri("object=root;type=secret-key"), PIN.encode())
