"""The broker's own keys, each made on first use and kept among the store's secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from confide.errors import InvalidFormat, UnknownKey
from confide.keys.signing import generate_signing_key, private_key_from_raw, raw_private

if TYPE_CHECKING:
    from confide.broker.store import Store

_KIND = "broker"


def secret_of(store: Store, name: str, make: Callable[[], bytes]) -> bytes:
    """Return a secret of the broker's; `make` makes it where the store has none yet.

    Raises:
        Tampered: its cell in the store was changed.
    """
    with store.transaction():
        try:
            return store.secret(_KIND, name)
        except UnknownKey:
            pass
        value = make()
        store.put_secret(_KIND, name, value)
    return value


def token_key(store: Store) -> ec.EllipticCurvePrivateKey:
    """Return the P-256 key that signs attestation result tokens."""
    key = load_der_private_key(secret_of(store, "token-key", _new_ec_key), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise InvalidFormat("the broker's token key is not an EC key")
    return key


def listing_key(store: Store) -> Ed25519PrivateKey:
    """Return the Ed25519 key that signs the listings which workloads commit."""
    return private_key_from_raw(secret_of(store, "listing-key", lambda: raw_private(generate_signing_key())))


def _new_ec_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
