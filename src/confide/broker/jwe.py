"""Resource responses of the KBS protocol: flattened JWE (RFC 7516 section 7.2.2) to the workload's key.

ECDH-ES+A256KW on P-256 with A256GCM; every header is protected, as the protocol has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicNumbers,
)
from joserfc import jwe
from joserfc.errors import JoseError
from joserfc.jwe import JWERegistry
from joserfc.jwk import ECKey

from confide.attestation.evidence import PUBKEY_ALGORITHM, coordinate
from confide.errors import Tampered

ENCRYPTION = "A256GCM"
MAX_PLAINTEXT_BYTES = 48 * 1024 * 1024

_MEMBERS = ("protected", "encrypted_key", "iv", "ciphertext", "tag")


class _Registry(JWERegistry):
    max_ciphertext_length = MAX_PLAINTEXT_BYTES * 4 // 3 + 4


_REGISTRY = _Registry(algorithms=[PUBKEY_ALGORITHM, ENCRYPTION])


def seal_to(tee_pubkey: Mapping[str, str], plaintext: bytes) -> dict[str, str]:
    """Return `plaintext` encrypted to the workload's public key (JWK)."""
    point = EllipticCurvePublicNumbers(coordinate(tee_pubkey["x"]), coordinate(tee_pubkey["y"]), SECP256R1())
    public_key = point.public_key()
    key = ECKey(public_key, public_key)
    header = {"alg": PUBKEY_ALGORITHM, "enc": ENCRYPTION}
    # The compact form holds the same five parts, with the ephemeral key in the protected header.
    compact = jwe.encrypt_compact(header, plaintext, key, registry=_REGISTRY)
    return dict(zip(_MEMBERS, compact.split("."), strict=True))


def open_sealed(private_key: EllipticCurvePrivateKey, sealed: Mapping[str, Any]) -> bytes:
    """Decrypt a resource response.

    Raises:
        Tampered: not a flattened JWE of this form, or it does not authenticate under the key.
    """
    if sealed.keys() != set(_MEMBERS) or not all(isinstance(part, str) for part in sealed.values()):
        raise Tampered("resource is not a flattened JWE")
    compact = ".".join(sealed[name] for name in _MEMBERS)
    try:
        opened = jwe.decrypt_compact(compact, ECKey(private_key, private_key), registry=_REGISTRY)
    except (JoseError, KeyError, ValueError):  # KeyError: of a curve that joserfc does not know
        raise Tampered("resource does not authenticate under the workload's key") from None
    if opened.plaintext is None:
        raise Tampered("resource holds nothing")
    return opened.plaintext
