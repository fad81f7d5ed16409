import os

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from confide.errors import AlreadyExists, InvalidFormat, Tampered, WrongPassphrase
from confide.keys.passphrase_file import LEAST_COST, PassphraseFile
from confide.keys.recovery.key import OVERHEAD_BYTES, RecoveryKey, RecoveryPublicKey

LOW_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
]
"""Points with which every key agrees on zero (RFC 7748 section 6.1)."""


def spki(key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def test_what_is_sealed_opens(keys):
    sealed = keys["ana"].public.seal(b"share", b"info")
    assert len(sealed) == OVERHEAD_BYTES + len(b"share")
    assert keys["ana"].unseal(sealed, b"info") == b"share"


def test_the_public_part_travels_as_pem(keys):
    again = RecoveryPublicKey.from_pem(keys["ana"].public.pem())
    assert (again.id, again.fingerprint) == (keys["ana"].public.id, keys["ana"].public.fingerprint)
    assert keys["ana"].unseal(again.seal(b"share", b""), b"") == b"share"


def test_the_file_is_the_key(tmp_path):
    made = RecoveryKey.create(tmp_path / "key", b"passphrase", LEAST_COST)
    assert RecoveryKey.open(tmp_path / "key", b"passphrase").public.id == made.public.id


def test_a_change_of_passphrase_keeps_the_key(tmp_path):
    made = RecoveryKey.create(tmp_path / "key", b"passphrase", LEAST_COST)
    PassphraseFile.open(tmp_path / "key", b"passphrase").change_passphrase(b"another", LEAST_COST)
    assert RecoveryKey.open(tmp_path / "key", b"another").public.id == made.public.id


def test_wrong_passphrase(tmp_path):
    RecoveryKey.create(tmp_path / "key", b"passphrase", LEAST_COST)
    with pytest.raises(WrongPassphrase):
        RecoveryKey.open(tmp_path / "key", b"Passphrase")


def test_a_key_is_never_replaced(tmp_path):
    RecoveryKey.create(tmp_path / "key", b"passphrase", LEAST_COST)
    with pytest.raises(AlreadyExists):
        RecoveryKey.create(tmp_path / "key", b"passphrase", LEAST_COST)


def test_repr_shows_no_key(keys):
    private = keys["ana"]._private.private_bytes_raw()
    assert private.hex() not in repr(keys["ana"])
    assert repr(private) not in repr(keys["ana"])


def test_the_private_key_is_not_the_files_root_key(tmp_path):
    made = RecoveryKey.create(tmp_path / "key", b"passphrase", LEAST_COST)
    root = PassphraseFile.open(tmp_path / "key", b"passphrase")._root
    assert made._private.private_bytes_raw() != root
    assert X25519PrivateKey.from_private_bytes(root).public_key() != made.public._key


def test_purposes_are_apart(tmp_path):
    file = PassphraseFile.create(tmp_path / "key", b"passphrase", LEAST_COST)
    assert len({file.derive(info) for info in (b"", b"a", b"b", b"confide/v1/recovery-key")}) == 4


@pytest.mark.parametrize("name", ["ben", "machine"])
def test_another_key_does_not_open_it(keys, name):
    with pytest.raises(Tampered):
        keys[name].unseal(keys["ana"].public.seal(b"share", b"info"), b"info")


def test_another_info_does_not_open_it(keys):
    sealed = keys["ana"].public.seal(b"share", b"info")
    for info in (b"", b"inf", b"info ", b"Info"):
        with pytest.raises(Tampered):
            keys["ana"].unseal(sealed, info)


def test_a_flipped_bit(keys):
    """Any of them: RFC 7748 passes over the highest bit of a point, but HPKE binds the point as it was sent."""
    sealed = keys["ana"].public.seal(bytes(32), b"info")
    for place in range(len(sealed)):
        for bit in range(8):
            changed = bytearray(sealed)
            changed[place] ^= 1 << bit
            with pytest.raises(Tampered):
                keys["ana"].unseal(bytes(changed), b"info")


@pytest.mark.parametrize("size", [0, 1, 31, 32, 47, 48, 79])
def test_cut_short(keys, size):
    with pytest.raises(Tampered):
        keys["ana"].unseal(keys["ana"].public.seal(bytes(32), b"info")[:size], b"info")


@pytest.mark.parametrize("point", LOW_ORDER, ids=lambda point: point[:2].hex())
def test_a_point_of_low_order_is_no_key(keys, point):
    with pytest.raises(InvalidFormat):
        RecoveryPublicKey(X25519PublicKey.from_public_bytes(point)).seal(bytes(32), b"info")
    with pytest.raises(Tampered):
        keys["ana"].unseal(point + bytes(48), b"info")


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"junk",
        b"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VuAyEA\n-----END PUBLIC KEY-----\n",
        spki(Ed25519PrivateKey.generate()),
        spki(generate_private_key(SECP256R1())),
        X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        spki(X25519PrivateKey.generate()) + b" " * 5000,
    ],
    ids=["empty", "junk", "hollow", "short", "ed25519", "p256", "private", "huge"],
)
def test_not_a_recovery_key(pem):
    with pytest.raises(InvalidFormat):
        RecoveryPublicKey.from_pem(pem)


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_arbitrary_bytes(data):
    with pytest.raises(InvalidFormat):
        RecoveryPublicKey.from_pem(data)


def test_a_fingerprint_is_128_bits_in_eight_groups(keys):
    public = keys["ana"].public
    assert public.fingerprint.replace(" ", "") == public.id[:32]
    assert [len(group) for group in public.fingerprint.split(" ")] == [4] * 8
    for text in (public.fingerprint, public.id[:32], public.fingerprint.upper(), f" {public.fingerprint}\n"):
        assert public.has_fingerprint(text)


def test_what_is_not_the_fingerprint(keys):
    public = keys["ana"].public
    digits = public.id[:32]
    wrong = [
        "",
        " ",
        digits[:4],
        digits[:31],
        public.id,
        public.id[32:],
        digits[:-1] + ("0" if digits[-1] != "0" else "1"),
        digits[1:] + digits[0],
        digits[:-1] + "g",
        digits[:-1] + "０",  # a full-width zero
        keys["ben"].public.fingerprint,
        os.urandom(16).hex(),
    ]
    for text in wrong:
        assert not public.has_fingerprint(text), text
