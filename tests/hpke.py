"""HPKE and HKDF a second time, from RFC 9180 and RFC 5869 alone: what the tests hold ours against."""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def extract(salt: bytes, ikm: bytes) -> bytes:
    return hmac.digest(salt, ikm, "sha256")


def expand(key: bytes, info: bytes, length: int) -> bytes:
    assert length <= 32
    return hmac.digest(key, info + b"\x01", "sha256")[:length]


def hpke_open(private: X25519PrivateKey, sealed: bytes, info: bytes) -> bytes:
    """RFC 9180 section 6.1: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM, mode base, no AAD."""
    encapsulated, ciphertext = sealed[:32], sealed[32:]
    kem = b"KEM" + (0x0020).to_bytes(2, "big")
    shared = private.exchange(X25519PublicKey.from_public_bytes(encapsulated))
    secret = labeled_extract(kem, b"", b"eae_prk", shared)
    context = encapsulated + private.public_key().public_bytes_raw()
    secret = labeled_expand(kem, secret, b"shared_secret", context, 32)
    suite = b"HPKE" + bytes.fromhex("002000010002")
    schedule = b"\x00"
    schedule += labeled_extract(suite, b"", b"psk_id_hash", b"")
    schedule += labeled_extract(suite, b"", b"info_hash", info)
    secret = labeled_extract(suite, secret, b"secret", b"")
    key = labeled_expand(suite, secret, b"key", schedule, 32)
    nonce = labeled_expand(suite, secret, b"base_nonce", schedule, 12)
    return AESGCM(key).decrypt(nonce, ciphertext, b"")


def labeled_extract(suite: bytes, salt: bytes, label: bytes, ikm: bytes) -> bytes:
    return extract(salt or bytes(32), b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    return expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)
