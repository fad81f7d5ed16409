"""Recovery keys: X25519 key pairs to which shares are sealed with HPKE (RFC 9180, base mode).

The private key is HKDF-SHA-256 of a root key file (docs/formats/root-key.md), so it lies under a passphrase and no
other format is needed. The public key travels as PEM (RFC 8410).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from confide.canonical import sha256_hex
from confide.errors import InvalidFormat, Tampered
from confide.keys.passphrase_file import DEFAULT_COST, Argon2Cost, PassphraseFile

MAX_PEM_BYTES = 4096
FINGERPRINT_CHARS = 32
OVERHEAD_BYTES = 32 + 16
"""What sealing adds: an ephemeral public key and a tag."""

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_INFO = b"confide/v1/recovery-key"
_HEX = re.compile(r"[0-9a-f]*")


@dataclass(frozen=True)
class RecoveryPublicKey:
    """To whom a share is sealed."""

    _key: X25519PublicKey

    @classmethod
    def from_pem(cls, pem: bytes) -> RecoveryPublicKey:
        """Parse a PEM SubjectPublicKeyInfo.

        Raises:
            InvalidFormat: not an X25519 public key.
        """
        if len(pem) > MAX_PEM_BYTES:
            raise InvalidFormat(f"a recovery key's public part has at most {MAX_PEM_BYTES} bytes")
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm):
            raise InvalidFormat("not a recovery key's public part (PEM)") from None
        if not isinstance(key, X25519PublicKey):
            raise InvalidFormat(
                "not a recovery key: it must be an X25519 public key, as `confide recovery key` makes"
            )
        return cls(key)

    def pem(self) -> bytes:
        """Return the PEM SubjectPublicKeyInfo."""
        return self._key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def id(self) -> str:
        """SHA-256 of the DER SubjectPublicKeyInfo, 64 hex digits."""
        return sha256_hex(self._key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    @property
    def fingerprint(self) -> str:
        """The first 128 bits of `id`, in groups of four digits: to be read aloud."""
        return " ".join(self.id[place : place + 4] for place in range(0, FINGERPRINT_CHARS, 4))

    def has_fingerprint(self, text: str) -> bool:
        """Return whether `text` is the fingerprint, with or without spaces."""
        digits = "".join(text.split()).lower()
        return (
            len(digits) == FINGERPRINT_CHARS and bool(_HEX.fullmatch(digits)) and self.id.startswith(digits)
        )

    def seal(self, plaintext: bytes, info: bytes) -> bytes:
        """Return `plaintext` encrypted to this key: ephemeral public key (32) || ciphertext || tag (16).

        Args:
            plaintext: what only the holder of the private key is to read.
            info: authenticated with it (RFC 9180 section 5).

        Raises:
            InvalidFormat: a public key of low order, which is no key.
        """
        try:
            return _SUITE.encrypt(plaintext, self._key, info)
        except ValueError:
            raise InvalidFormat("not a recovery key: the public key is of low order") from None


@dataclass(frozen=True)
class RecoveryKey:
    """A recovery key that a passphrase opened."""

    _private: X25519PrivateKey = field(repr=False)

    @classmethod
    def create(cls, path: Path, passphrase: bytes, cost: Argon2Cost = DEFAULT_COST) -> RecoveryKey:
        """Make a key pair; its private part lies in a new file, mode 0600, under the passphrase.

        Raises:
            AlreadyExists, Misuse, StorageUnavailable: as `PassphraseFile.create`.
        """
        return cls._of(PassphraseFile.create(path, passphrase, cost))

    @classmethod
    def open(cls, path: Path, passphrase: bytes) -> RecoveryKey:
        """Open the private part.

        Raises:
            WrongPassphrase, InvalidFormat, StorageUnavailable: as `PassphraseFile.open`.
        """
        return cls._of(PassphraseFile.open(path, passphrase))

    @classmethod
    def _of(cls, file: PassphraseFile) -> RecoveryKey:
        return cls(X25519PrivateKey.from_private_bytes(file.derive(_INFO)))

    @property
    def public(self) -> RecoveryPublicKey:
        """The part that others seal to."""
        return RecoveryPublicKey(self._private.public_key())

    def unseal(self, sealed: bytes, info: bytes) -> bytes:
        """Reverse `RecoveryPublicKey.seal`.

        Raises:
            Tampered: sealed to another key, with another `info`, or changed.
        """
        try:
            return _SUITE.decrypt(sealed, self._private, info)
        except (InvalidTag, ValueError):
            raise Tampered("does not open under this recovery key") from None
