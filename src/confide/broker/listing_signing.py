"""Signed listings: canonical JSON in a flattened JWS, by the owner or by the broker that committed it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from confide.attestation.evidence import describe
from confide.broker.identity import listing_key
from confide.data.listing import MAX_LISTING_BYTES, Listing
from confide.errors import InvalidFormat, UnknownKey
from confide.keys.signing import key_id, public_key_from_raw, raw_public, sign_jws, verify_jws

if TYPE_CHECKING:
    from confide.broker.store import Store

LISTING_TYP = "confide-listing+json"
_TRUSTED = "trusted-listing-keys"


def sign_listing(listing: Listing, signing_key: Ed25519PrivateKey, signer: str) -> dict[str, Any]:
    """Return the listing signed.

    Args:
        listing: the commit record.
        signing_key: of an owner or of a broker.
        signer: the owner's name, or the SHA-256 (hex) of the broker's public key.
    """
    return sign_jws(signing_key, listing.canonical(), {"kid": signer, "typ": LISTING_TYP})


def verify_listing(jws: Mapping[str, Any], signers: Mapping[str, Ed25519PublicKey]) -> Listing:
    """Return the listing of a JWS.

    Raises:
        SignatureRefused: by none of `signers` (signer -> key), or it does not verify.
        InvalidFormat: what was signed is not a canonical listing.
    """
    payload = verify_jws(jws, signers, LISTING_TYP, MAX_LISTING_BYTES)
    try:
        listing = Listing.from_json(payload)
    except ValidationError as error:
        raise InvalidFormat(f"listing: {describe(error)}") from None
    if listing.canonical() != payload:
        raise InvalidFormat("listing: not canonical JSON")
    return listing


def listing_signers(store: Store, owner: str) -> dict[str, Ed25519PublicKey]:
    """Return whose signature makes a listing of `owner` good in this home.

    The owner's; this home's own broker's; those of the brokers that the owner published to.

    Raises:
        SignatureRefused: the owner is not known here.
    """
    own = listing_key(store).public_key()
    published = [public_key_from_raw(raw) for raw in _trusted(store, owner)]
    signers = {key_id(key): key for key in (own, *published)}
    return {**signers, owner: public_key_from_raw(store.owner(owner))}


def trust_listing_keys(store: Store, owner: str, keys: Iterable[Ed25519PublicKey]) -> None:
    """Accept listings of `owner` signed by a broker with one of these keys, from now on."""
    with store.transaction():
        trusted = {*_trusted(store, owner), *map(raw_public, keys)}
        store.put_secret(_TRUSTED, owner, b"".join(sorted(trusted)))


def _trusted(store: Store, owner: str) -> list[bytes]:
    try:
        joined = store.secret(_TRUSTED, owner)
    except UnknownKey:
        return []
    return [joined[i : i + 32] for i in range(0, len(joined), 32)]
