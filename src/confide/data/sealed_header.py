"""Header of a sealed file: which key wrapped its data key, and which file of which folder it is.

Format: docs/formats/sealed-file.md.
"""

from __future__ import annotations

import base64
import re
import secrets
from dataclasses import dataclass
from typing import Annotated, BinaryIO

from pydantic import AfterValidator, ValidationError

from confide.canonical import sha256_hex
from confide.data.listing import TableId
from confide.data.segments import KEY_BYTES
from confide.document import StrictModel
from confide.errors import InvalidFormat, Misuse, NotEncrypted, Tampered
from confide.keys.material import Keyset
from confide.keys.names import KeyName, KeyVersion

MAGIC = b"CONFIDE\x01"
LENGTH_BYTES = 2
MAX_HEADER_JSON_BYTES = 4096
_ID = re.compile(r"[0-9a-f]{32}")


def _key_version(text: str) -> str:
    return str(KeyVersion.parse(text))


def _base64(text: str) -> str:
    if base64.b64encode(base64.b64decode(text, validate=True)).decode() != text:
        raise ValueError("not canonical base64")
    return text


class SealedHeader(StrictModel):
    """What a sealed file says of itself, in clear; every byte of it is authenticated with the body.

    Attributes:
        dek: the file's data key, wrapped, base64.
        file: random id of the file, 32 hex digits.
        folder: id of the table or folder that the file belongs to, 32 hex digits.
        key: key version that wrapped the data key, `owner/name:version`.
    """

    dek: Annotated[str, AfterValidator(_base64)]
    file: TableId
    folder: TableId
    key: Annotated[str, AfterValidator(_key_version)]

    def context(self) -> bytes:
        """Return what the wrapped data key is bound to."""
        return _context(self.key, self.folder, self.file)

    def encode(self) -> bytes:
        """Return the header's bytes: magic, length, canonical JSON."""
        document = self.canonical()
        return MAGIC + len(document).to_bytes(LENGTH_BYTES, "big") + document

    def unwrap(self, keyset: Keyset) -> bytes:
        """Return the file's data key.

        Raises:
            UnknownKey: the key or its version is not in `keyset`.
            RevokedKey: the version was revoked.
            Tampered: the wrapped key does not authenticate, or belongs to another file or folder.
        """
        wrapped = base64.b64decode(self.dek)
        data_key = keyset.unwrap(KeyVersion.parse(self.key), wrapped, self.context())
        if len(data_key) != KEY_BYTES:
            raise InvalidFormat("the sealed file's data key has not 32 bytes")
        return data_key


@dataclass(frozen=True)
class ParsedHeader:
    """A header and the exact bytes it was read from (the body's associated data)."""

    header: SealedHeader
    raw: bytes

    @property
    def binding(self) -> str:
        """SHA-256 of the header's bytes, hex: what a listing says of the file."""
        return binding(self.raw)


def binding(raw_header: bytes) -> str:
    """Return the binding of a sealed file: SHA-256, hex, of its header's bytes."""
    return sha256_hex(raw_header)


def new_header(keyset: Keyset, key: KeyName, folder: str) -> tuple[ParsedHeader, bytes]:
    """Make the header of a new file and its data key, wrapped under the current version of `key`.

    Raises:
        UnknownKey, RevokedKey: the key is not held, or was revoked.
        Misuse: `folder` is not an id of 32 hex digits.
    """
    if not _ID.fullmatch(folder):
        raise Misuse("a folder's id is 32 lower-case hex digits")
    named = keyset.key(key)
    version, file_id = str(named.current_version()), secrets.token_hex(16)
    data_key = secrets.token_bytes(KEY_BYTES)
    _, wrapped = named.wrap(data_key, _context(version, folder, file_id))
    header = SealedHeader(dek=base64.b64encode(wrapped).decode(), file=file_id, folder=folder, key=version)
    return ParsedHeader(header, header.encode()), data_key


def read_header(file: BinaryIO) -> ParsedHeader:
    """Read the header at the position of `file`, and leave the position at the body's first byte.

    Raises:
        NotEncrypted: the file does not begin as a sealed file.
        InvalidFormat: another version of the format, or a header that is not one.
        Tampered: the file ends inside its header.
    """
    start = file.read(len(MAGIC) + LENGTH_BYTES)
    if start[: len(MAGIC) - 1] != MAGIC[:-1]:
        raise NotEncrypted("not a sealed file")
    if len(start) < len(MAGIC) + LENGTH_BYTES:
        raise Tampered("sealed file ends inside its header")
    if start[: len(MAGIC)] != MAGIC:
        raise InvalidFormat(f"sealed file of unknown version {start[len(MAGIC) - 1]}")
    length = int.from_bytes(start[len(MAGIC) :], "big")
    if length > MAX_HEADER_JSON_BYTES:
        raise InvalidFormat(f"sealed file's header has {length} bytes, more than {MAX_HEADER_JSON_BYTES}")
    document = file.read(length)
    if len(document) < length:
        raise Tampered("sealed file ends inside its header")
    try:
        header = SealedHeader.from_json(document)
    except (ValidationError, Misuse):
        raise InvalidFormat("sealed file's header is not one") from None
    if header.canonical() != document:
        raise InvalidFormat("sealed file's header is not canonical JSON")
    return ParsedHeader(header, start + document)


def _context(key: str, folder: str, file: str) -> bytes:
    return f"sealed:{key}@{folder}/{file}".encode()
