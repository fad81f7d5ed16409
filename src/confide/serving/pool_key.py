"""The pool key: what requests are sealed to. Each version of a named key gives one X25519 key pair.

A broker releases the named key to approved workers alone, so every worker of the pool opens what was sealed to any of
them. Format: docs/formats/serving.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from confide.canonical import canonical_json, sha256_hex
from confide.errors import UnknownKey
from confide.keys.material import NamedKey
from confide.keys.names import KeyVersion

KEY_ID_BYTES = 16
_REQUESTS, _TICKETS = b"confide/v1/serving/pool", b"confide/v1/serving/tickets"


@dataclass(frozen=True)
class PoolPublicKey:
    """One version of a pool key, as clients know it.

    Attributes:
        version: name of the version, `owner/name:version`.
        key: requests are sealed to it.
    """

    version: KeyVersion
    key: X25519PublicKey

    @property
    def id(self) -> bytes:
        """What names it in a sealed request, 16 bytes."""
        return key_id(self.version, self.key.public_bytes_raw())


@dataclass(frozen=True)
class PoolKey:
    """One version of a pool key, as workers hold it.

    Attributes:
        public: its public half.
        private: opens requests.
        tickets: seals the tickets that workers of the pool give.
    """

    public: PoolPublicKey
    private: X25519PrivateKey = field(repr=False)
    tickets: AESGCM = field(repr=False)


class PoolKeys:
    """The live versions of a pool key, as workers hold them.

    Args:
        named: what the broker released.
    """

    def __init__(self, named: NamedKey) -> None:
        keys = [_derived(named, number) for number in sorted(named.secrets)]
        self._by_id: Mapping[bytes, PoolKey] = {key.public.id: key for key in keys}
        self.public = tuple(key.public for key in keys)
        self.current = named.current_version()

    def key(self, identifier: bytes) -> PoolKey:
        """Return the version that an id names.

        Raises:
            UnknownKey: none that is live.
        """
        try:
            return self._by_id[identifier]
        except KeyError:
            raise UnknownKey("sealed to a key that this pool does not have, or has no more") from None


def key_id(version: KeyVersion, raw: bytes) -> bytes:
    """Return the id of a version with this raw public key."""
    return hashlib.sha256(b"confide/v1/serving/key-id\0" + str(version).encode() + b"\0" + raw).digest()[
        :KEY_ID_BYTES
    ]


def keys_digest(keys: Iterable[PoolPublicKey], current: KeyVersion) -> str:
    """Return the hash that a worker's evidence binds: of all versions and which is current, 64 hex digits."""
    return sha256_hex(
        canonical_json(
            {
                "current": str(current),
                "keys": {str(key.version): key.key.public_bytes_raw().hex() for key in keys},
            }
        )
    )


def _derived(named: NamedKey, number: int) -> PoolKey:
    private = X25519PrivateKey.from_private_bytes(named.derive(number, _REQUESTS))
    public = PoolPublicKey(KeyVersion(named.name, number), private.public_key())
    return PoolKey(public, private, AESGCM(named.derive(number, _TICKETS)))
