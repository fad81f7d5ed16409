"""The key that an author signs enclaves with: RSA of 3072 bits with exponent 3, in a file or in a PKCS#11 token.

`FILE` is PEM, encrypted under a passphrase or not; `pkcs11:token=...;object=...?module-path=...` a private key that
stays in its token and signs there (CKM_RSA_PKCS, PKCS#11 v2.40 section 2.1).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from confide.attestation.intel.sigstruct_signing import EXPONENT, KEY_BITS, AuthorKey
from confide.errors import InvalidFormat, Misuse, ProviderRefused, WrongPassphrase
from confide.keys.pkcs11 import find_token, pkcs11_library, translated
from confide.keys.pkcs11_uri import PREFIX, Pkcs11Uri

_MAX_PEM_BYTES = 64 * 1024
_SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
"""DER of DigestInfo for SHA-256 (RFC 8017 section 9.2); the hash follows."""


def needs_secret(where: str) -> bool:
    """Return whether opening the key takes a PIN or a passphrase.

    Raises:
        Misuse: the file cannot be read.
    """
    return where.startswith(PREFIX) or b"ENCRYPTED" in _pem(Path(where))


def open_author_key(where: str, secret: bytes | None = None) -> AuthorKey:
    """Return the key.

    Args:
        where: file, or URI of PKCS#11.
        secret: passphrase or PIN; None for a file that is not encrypted.

    Raises:
        Misuse: no such file, or a URI that names no key.
        InvalidFormat: no RSA key of 3072 bits with exponent 3.
        WrongPassphrase: the secret does not open it.
        ProviderRefused, ProviderUnavailable, MissingDependency: as of a token.
    """
    if where.startswith(PREFIX):
        if secret is None:
            raise Misuse("the token needs its PIN")
        return _token_key(Pkcs11Uri.parse(where, "private"), secret)
    return _file_key(_pem(Path(where)), secret)


@dataclass(frozen=True, repr=False)
class FileKey:
    """A key that was in a file. An `AuthorKey`."""

    key: RSAPrivateKey

    @property
    def modulus(self) -> int:
        """The public modulus."""
        return self.key.public_key().public_numbers().n

    def sign(self, data: bytes) -> bytes:
        """Return the signature."""
        return self.key.sign(data, PKCS1v15(), SHA256())


@dataclass(frozen=True, repr=False)
class TokenKey:
    """A key in a token. An `AuthorKey`. Each signature logs in and out again."""

    uri: Pkcs11Uri
    pin: str
    modulus: int

    def sign(self, data: bytes) -> bytes:
        """Return the signature, made in the token.

        Raises:
            ProviderRefused, ProviderUnavailable, WrongPassphrase: the token does not sign.
        """
        mechanism = pkcs11_library().Mechanism.RSA_PKCS
        info = _SHA256_INFO + hashlib.sha256(data).digest()
        return bytes(_in_token(self.uri, self.pin, lambda key: key.sign(info, mechanism=mechanism)))


def _file_key(pem: bytes, passphrase: bytes | None) -> FileKey:
    try:
        key = load_pem_private_key(pem, passphrase)
    except TypeError:
        raise WrongPassphrase("the key file is encrypted, or is not and a passphrase was given") from None
    except ValueError:
        if passphrase is None:
            raise InvalidFormat("the key file holds no private key in PEM form") from None
        raise WrongPassphrase("the passphrase does not open the key file") from None
    if not isinstance(key, RSAPrivateKey):
        raise InvalidFormat("the author's key is not an RSA key")
    _check(key.key_size, key.public_key().public_numbers().e)
    return FileKey(key)


def _token_key(uri: Pkcs11Uri, pin: bytes) -> TokenKey:
    from pkcs11 import Attribute

    def numbers(key: Any) -> tuple[int, int]:
        return tuple(
            int.from_bytes(key[name], "big") for name in (Attribute.MODULUS, Attribute.PUBLIC_EXPONENT)
        )  # type: ignore[return-value]

    try:
        text = pin.decode("utf-8")
    except UnicodeDecodeError:
        raise WrongPassphrase("the PIN is not UTF-8 text") from None
    modulus, exponent = _in_token(uri, text, numbers)
    _check(modulus.bit_length(), exponent)
    return TokenKey(uri, text, modulus)


def _in_token(uri: Pkcs11Uri, pin: str, use: Any) -> Any:
    """Call `use` with the key, logged in."""
    library = pkcs11_library()
    from pkcs11 import Attribute, ObjectClass

    token = None
    try:
        token = find_token(uri)
        with token.open(user_pin=pin) as session:
            meant: dict[Any, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
            if uri.object is not None:
                meant[Attribute.LABEL] = uri.object
            if uri.id is not None:
                meant[Attribute.ID] = uri.id
            keys = list(session.get_objects(meant))
            if len(keys) != 1:
                raise ProviderRefused(f"{len(keys)} private keys in the token have that object label and id")
            return use(keys[0])
    except library.PKCS11Error as error:
        raise translated(error, uri, token) from None


def _check(bits: int, exponent: int) -> None:
    if bits != KEY_BITS or exponent != EXPONENT:
        raise InvalidFormat(
            f"the author's key has {bits} bits and exponent {exponent}; SGX takes RSA of 3072 bits with exponent 3 "
            "(openssl genrsa -3 -out author.pem 3072)"
        )


def _pem(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_PEM_BYTES)
    except OSError as error:
        raise Misuse(f"cannot read the author's key {path}: {error.strerror}") from None
