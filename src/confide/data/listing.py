"""The listing of a table or a folder of sealed files: which files belong to it, and what binds each.

A listing is the commit record of its location: whoever reads the location reads exactly the files named
here, each with the size and the `binding` given. Format: docs/formats/listing.md.
"""

from __future__ import annotations

import itertools
import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from confide.document import StrictModel
from confide.errors import Misuse
from confide.keys.names import KeyName, parse_owner

MAX_FILES = 100_000
MAX_LISTING_BYTES = 32 * 1024 * 1024
TABLE_ID_BYTES = 16

_HEX32 = re.compile(r"[0-9a-f]{32}")
_HEX64 = re.compile(r"[0-9a-f]{64}")


def _table_id(text: str) -> str:
    if not _HEX32.fullmatch(text):
        raise ValueError("a table id is 32 lower-case hex digits")
    return text


def _binding(text: str) -> str:
    if not _HEX64.fullmatch(text):
        raise ValueError("a binding is 64 lower-case hex digits")
    return text


def _key_name(text: str) -> str:
    try:
        return str(KeyName.parse(text))
    except Misuse as error:
        raise ValueError(str(error)) from None  # pydantic collects ValueError only


def _owner(text: str) -> str:
    try:
        return parse_owner(text)
    except Misuse as error:
        raise ValueError(str(error)) from None


def _relative_path(text: str) -> str:
    parts = text.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in text or "\0" in text:
        raise ValueError("a file's path is relative, without empty, '.' or '..' parts")
    return text


TableId = Annotated[str, AfterValidator(_table_id)]
KeyNameText = Annotated[str, AfterValidator(_key_name)]
OwnerText = Annotated[str, AfterValidator(_owner)]


class Format(StrEnum):
    """What a location holds: an encrypted table (Parquet), sealed files of any kind, or a stream of sealed records.

    A stream has no listing: its records count themselves.
    """

    TABLE = "table"
    FILES = "files"
    STREAM = "stream"


class ListedFile(StrictModel):
    """One file of a listing.

    Attributes:
        path: relative to the location, '/' between parts.
        size: bytes of the encrypted file.
        binding: SHA-256, hex, of the bytes that every other byte of the file is authenticated against:
            for Parquet the tail (file crypto metadata, encrypted footer, length, magic `PARE`), for a
            sealed file its header.
    """

    path: Annotated[str, AfterValidator(_relative_path), Field(max_length=1024)]
    size: Annotated[int, Field(ge=0, le=2**53 - 1)]
    binding: Annotated[str, AfterValidator(_binding)]


class Listing(StrictModel):
    """The files of one location at one serial.

    Attributes:
        version: of this format, 1.
        table: random id of the table or folder, 32 hex digits; the key identifiers inside its files name it.
        owner: the owner of `key`.
        location: where it lies in the policy's words, for instance `data/patients`.
        format: `table` or `files`.
        serial: counts commits from 1; the broker refuses any that is not the next.
        key: key of the footer and of every column not in `columns` (of every file, for `files`).
        columns: top-level column -> key, where a column has a key of its own.
        files: sorted by path (Unicode code points), no path twice.
    """

    version: Annotated[int, Field(ge=1, le=1)] = 1
    table: TableId
    owner: OwnerText
    location: Annotated[str, Field(min_length=1, max_length=1024)]
    format: Annotated[Format, Field(strict=False)]
    serial: Annotated[int, Field(ge=1, le=2**53 - 1)]
    key: KeyNameText
    columns: dict[str, KeyNameText] = Field(default_factory=dict)
    files: Annotated[tuple[ListedFile, ...], Field(max_length=MAX_FILES, strict=False)]

    @model_validator(mode="after")
    def _sorted_and_owned(self) -> Self:
        paths = [file.path for file in self.files]
        if any(a >= b for a, b in itertools.pairwise(paths)):
            raise ValueError("files are sorted by path, each once")
        if self.format is Format.STREAM:
            raise ValueError("a stream has no listing")
        if KeyName.parse(self.key).owner != self.owner:
            raise ValueError("the listing's owner is the owner of its key")
        return self
