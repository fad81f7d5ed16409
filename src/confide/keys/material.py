"""Key material: named keys in memory, and how they wrap data keys (envelope encryption).

A named key has versions. New data is wrapped by the current version; older versions still unwrap. The
256-bit version secret is never used directly: a subkey per purpose is derived with HKDF-SHA-256 (RFC 5869),
and AES-256-GCM (SP 800-38D) with a random 96-bit nonce wraps the data key, the caller's context being
authenticated with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from confide.errors import RevokedKey, Tampered, UnknownKey
from confide.keys.names import KeyName, KeyVersion

SECRET_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_WRAP_INFO = b"confide/v1/wrap"


def wrap_with(secret: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Wrap `plaintext` under a 32-byte secret: nonce (12) || ciphertext || tag (16), `context` as AAD."""
    nonce = os.urandom(NONCE_BYTES)
    return nonce + AESGCM(_subkey(secret)).encrypt(nonce, plaintext, context)


def unwrap_with(secret: bytes, wrapped: bytes, context: bytes) -> bytes:
    """Reverse `wrap_with`.

    Raises:
        Tampered: wrong secret, wrong context, or changed bytes.
    """
    if len(wrapped) < NONCE_BYTES + TAG_BYTES:
        raise Tampered("wrapped key is too short")
    try:
        return AESGCM(_subkey(secret)).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context)
    except InvalidTag:
        raise Tampered("wrapped key does not authenticate") from None


def _subkey(secret: bytes, purpose: bytes = _WRAP_INFO) -> bytes:
    return HKDF(hashes.SHA256(), SECRET_BYTES, salt=None, info=purpose).derive(secret)


@dataclass(frozen=True)
class NamedKey:
    """A named key with the secrets of its live versions.

    Attributes:
        name: owner and name.
        current: version that wraps new data keys; None if the key may only read.
        secrets: version -> 32 bytes. Never shown by `repr`.
        revoked: versions that were revoked; their secrets are gone.
    """

    name: KeyName
    current: int | None
    secrets: Mapping[int, bytes] = field(repr=False)
    revoked: frozenset[int] = frozenset()

    def current_version(self) -> KeyVersion:
        """Return the version that wraps new data keys.

        Raises:
            RevokedKey: the whole key was revoked.
        """
        if self.current is None or self.current in self.revoked:
            raise RevokedKey(f"key {self.name} was revoked")
        return KeyVersion(self.name, self.current)

    def wrap(self, data_key: bytes, context: bytes) -> tuple[KeyVersion, bytes]:
        """Wrap `data_key` under the current version, bound to `context`.

        Raises:
            RevokedKey: the whole key was revoked.
        """
        version = self.current_version()
        return version, wrap_with(self._secret(version), data_key, context)

    def unwrap(self, version: KeyVersion, wrapped: bytes, context: bytes) -> bytes:
        """Unwrap a data key that `version` wrapped with the same `context`.

        Raises:
            UnknownKey: another key's version, or one that does not exist.
            RevokedKey: the version was revoked.
            Tampered: changed bytes or another context.
        """
        return unwrap_with(self._secret(version), wrapped, context)

    def derive(self, number: int, purpose: bytes) -> bytes:
        """Return the 32-byte subkey of a version for another purpose than wrapping (HKDF-SHA-256, RFC 5869).

        Raises:
            UnknownKey: there is no such version.
            RevokedKey: it was revoked.
        """
        if purpose == _WRAP_INFO:
            raise ValueError("data keys are wrapped by `wrap`")
        return _subkey(self._secret(KeyVersion(self.name, number)), purpose)

    def _secret(self, version: KeyVersion) -> bytes:
        if version.key != self.name:
            raise UnknownKey(f"{version} is not a version of {self.name}")
        if version.version in self.revoked:
            raise RevokedKey(f"key {version} was revoked")
        secret = self.secrets.get(version.version)
        if secret is None:
            raise UnknownKey(f"key {version} does not exist here")
        return secret


class Keyset:
    """The named keys that a process holds, by name."""

    def __init__(self, keys: Mapping[KeyName, NamedKey]) -> None:
        self._keys = dict(keys)

    def __repr__(self) -> str:
        return f"Keyset({', '.join(sorted(map(str, self._keys)))})"

    def key(self, name: KeyName) -> NamedKey:
        """Return the key called `name`.

        Raises:
            UnknownKey: it is not among the keys held.
        """
        try:
            return self._keys[name]
        except KeyError:
            raise UnknownKey(f"key {name} is not among the keys released here") from None

    def wrap(self, name: KeyName, data_key: bytes, context: bytes) -> tuple[KeyVersion, bytes]:
        """Wrap `data_key` under the current version of `name`."""
        return self.key(name).wrap(data_key, context)

    def unwrap(self, version: KeyVersion, wrapped: bytes, context: bytes) -> bytes:
        """Unwrap a data key that `version` wrapped."""
        return self.key(version.key).unwrap(version, wrapped, context)
