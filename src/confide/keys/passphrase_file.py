"""Key provider `file://`: a root key in a file, protected by a passphrase.

Argon2id (RFC 9106) turns the passphrase into a key that wraps the root key with AES-256-GCM; the root key
wraps what the provider is asked to wrap. Changing the passphrase wraps the same root key again, so nothing
under it changes. Format: docs/formats/root-key.md.
"""

from __future__ import annotations

import base64
import os
import secrets as random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from confide.canonical import canonical_json
from confide.errors import AlreadyExists, InvalidFormat, Misuse, StorageUnavailable, Tampered, WrongPassphrase
from confide.keys.material import NONCE_BYTES, SECRET_BYTES, TAG_BYTES, unwrap_with, wrap_with

MAX_FILE_BYTES = 4096
MAX_PASSPHRASE_BYTES = 4096
SALT_BYTES = 16

_WRAPPED_CHARS = 4 * -(-(NONCE_BYTES + SECRET_BYTES + TAG_BYTES) // 3)


class Argon2Cost(BaseModel):
    """Cost of guessing one passphrase. The bounds hold on reading too: no file can ask for more memory or time.

    Attributes:
        memory_kib: memory in KiB, from OWASP's 19 MiB to 256 MiB.
        iterations: passes over the memory.
        lanes: parallel lanes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    memory_kib: Annotated[int, Field(ge=19 * 1024, le=256 * 1024)]
    iterations: Annotated[int, Field(ge=2, le=16)]
    lanes: Annotated[int, Field(ge=1, le=8)]


DEFAULT_COST = Argon2Cost(memory_kib=64 * 1024, iterations=3, lanes=4)
"""RFC 9106 section 4, second recommended option: 64 MiB, 3 passes, 4 lanes; some 0.2 s."""

LEAST_COST = Argon2Cost(memory_kib=19 * 1024, iterations=2, lanes=1)
"""The least accepted (OWASP Password Storage): for tests and small machines."""


class _Kdf(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Literal["argon2id"] = "argon2id"
    salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    cost: Argon2Cost


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["confide/root-key/v1"] = "confide/root-key/v1"
    kdf: _Kdf
    wrapped: Annotated[str, Field(min_length=_WRAPPED_CHARS, max_length=_WRAPPED_CHARS)]


@dataclass(frozen=True)
class PassphraseFile:
    """A root key that a passphrase opened. A `KeyProvider`."""

    path: Path
    _root: bytes = field(repr=False)

    @classmethod
    def create(cls, path: Path, passphrase: bytes, cost: Argon2Cost = DEFAULT_COST) -> PassphraseFile:
        """Make a new root key in a new file, mode 0600.

        Raises:
            AlreadyExists: something lies at `path`.
            Misuse: the passphrase is empty or longer than 4096 bytes.
            StorageUnavailable: the file cannot be written.
        """
        root = random.token_bytes(SECRET_BYTES)
        _write(path, _seal(root, passphrase, cost), replace=False)
        return cls(path, root)

    @classmethod
    def open(cls, path: Path, passphrase: bytes) -> PassphraseFile:
        """Open the root key of `path`.

        Raises:
            WrongPassphrase: it does not open the file, or the file was changed.
            InvalidFormat: not a root key file.
            StorageUnavailable: the file cannot be read.
        """
        return cls(path, _unseal(_read(path), passphrase))

    def change_passphrase(self, passphrase: bytes, cost: Argon2Cost = DEFAULT_COST) -> None:
        """Protect the same root key by another passphrase, replacing the file atomically.

        Raises:
            Misuse: the passphrase is empty or longer than 4096 bytes.
            StorageUnavailable: the file cannot be written.
        """
        _write(self.path, _seal(self._root, passphrase, cost), replace=True)

    def derive(self, info: bytes) -> bytes:
        """Return 32 bytes for another purpose: HKDF-SHA-256 (RFC 5869) of the root key, without salt."""
        return HKDF(hashes.SHA256(), SECRET_BYTES, salt=None, info=info).derive(self._root)

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Wrap `secret` under the root key, `context` as AAD."""
        return wrap_with(self._root, secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Reverse `wrap`.

        Raises:
            Tampered: another root key, another context, or changed bytes.
        """
        return unwrap_with(self._root, wrapped, context)


def open_uri(uri: str, secrets: Mapping[str, bytes]) -> PassphraseFile:
    """Open `file:///path/of/root.json` with `secrets["passphrase"]`.

    Raises:
        Misuse: as `path_of_uri`, or no passphrase given.
        WrongPassphrase: see `PassphraseFile.open`.
    """
    path = path_of_uri(uri)
    if "passphrase" not in secrets:
        raise Misuse("the root key file needs a passphrase")
    return PassphraseFile.open(path, secrets["passphrase"])


def path_of_uri(uri: str) -> Path:
    """Return the path that `file:///absolute/path` names.

    Raises:
        Misuse: no absolute path, a host or query in the URI.
    """
    parts = urlsplit(uri)
    if parts.netloc or parts.query or parts.fragment or not parts.path.startswith("/"):
        raise Misuse(f"not the URI of a root key file: {uri!r} (expected file:///absolute/path)")
    return Path(unquote(parts.path))


def _seal(root: bytes, passphrase: bytes, cost: Argon2Cost) -> bytes:
    kdf = _Kdf(salt=os.urandom(SALT_BYTES).hex(), cost=cost)
    wrapped = wrap_with(_derive(passphrase, kdf), root, _context(kdf))
    document = _Document(kdf=kdf, wrapped=base64.b64encode(wrapped).decode())
    return canonical_json(document.model_dump())


def _unseal(data: bytes, passphrase: bytes) -> bytes:
    try:
        document = _Document.model_validate_json(data)
        wrapped = base64.b64decode(document.wrapped, validate=True)
    except (ValidationError, ValueError):
        raise InvalidFormat("not a root key file of version 1") from None
    try:
        return unwrap_with(_derive(passphrase, document.kdf), wrapped, _context(document.kdf))
    except Tampered:
        raise WrongPassphrase("the passphrase does not open the root key") from None


def _context(kdf: _Kdf) -> bytes:
    """Everything in the file but the wrapped key itself is authenticated with it."""
    fixed: dict[str, Any] = {"format": "confide/root-key/v1", "kdf": kdf.model_dump()}
    return canonical_json(fixed)


def _derive(passphrase: bytes, kdf: _Kdf) -> bytes:
    if not 0 < len(passphrase) <= MAX_PASSPHRASE_BYTES:
        raise Misuse(f"a passphrase has 1 to {MAX_PASSPHRASE_BYTES} bytes")
    argon2 = Argon2id(
        salt=bytes.fromhex(kdf.salt),
        length=SECRET_BYTES,
        iterations=kdf.cost.iterations,
        lanes=kdf.cost.lanes,
        memory_cost=kdf.cost.memory_kib,
    )
    return argon2.derive(passphrase)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise StorageUnavailable(f"cannot read the root key file {path}: {error.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise InvalidFormat(f"root key file {path} is larger than {MAX_FILE_BYTES} bytes")
    return data


def _write(path: Path, data: bytes, *, replace: bool) -> None:
    """Write through a temporary file (mkstemp: 0600) in the same folder, so that `path` is whole or absent."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                temporary.replace(path)
            else:
                path.hardlink_to(temporary)  # unlike a rename, never replaces
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        raise AlreadyExists(f"{path} is there already") from None
    except OSError as error:
        raise StorageUnavailable(f"cannot write the root key file {path}: {error.strerror}") from None
