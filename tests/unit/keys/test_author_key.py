"""The author's key in a file: what SGX takes, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from confide.errors import InvalidFormat, Misuse, WrongPassphrase
from confide.keys.author_key import needs_secret, open_author_key


def write(path: Path, key, passphrase: bytes | None = None) -> str:
    encryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    )
    return str(path)


@pytest.fixture(scope="module")
def key():
    return rsa.generate_private_key(3, 3072)


def test_a_plain_file(tmp_path, key):
    where = write(tmp_path / "author.pem", key)
    assert not needs_secret(where)
    opened = open_author_key(where)
    assert opened.modulus == key.public_key().public_numbers().n
    assert len(opened.sign(b"data")) == 384


def test_an_encrypted_file(tmp_path, key):
    where = write(tmp_path / "author.pem", key, b"passphrase")
    assert needs_secret(where)
    assert open_author_key(where, b"passphrase").modulus == key.public_key().public_numbers().n
    with pytest.raises(WrongPassphrase):
        open_author_key(where, b"another")
    with pytest.raises(WrongPassphrase):
        open_author_key(where)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("exponent", "bits"), [(65537, 3072), (3, 2048), (3, 4096)])
def test_a_key_that_sgx_does_not_take(tmp_path, exponent, bits):
    where = write(tmp_path / "author.pem", rsa.generate_private_key(exponent, bits))
    with pytest.raises(InvalidFormat, match="3072 bits with exponent 3"):
        open_author_key(where)


def test_a_key_of_another_kind(tmp_path):
    with pytest.raises(InvalidFormat, match="not an RSA key"):
        open_author_key(write(tmp_path / "author.pem", ed25519.Ed25519PrivateKey.generate()))


def test_no_key(tmp_path):
    (tmp_path / "author.pem").write_text("hello")
    with pytest.raises(InvalidFormat):
        open_author_key(str(tmp_path / "author.pem"))
    with pytest.raises(Misuse, match="cannot read"):
        open_author_key(str(tmp_path / "none.pem"))


def test_a_token_needs_a_pin():
    where = "pkcs11:token=a;object=b?module-path=/x.so"
    assert needs_secret(where)
    with pytest.raises(Misuse, match="PIN"):
        open_author_key(where)
