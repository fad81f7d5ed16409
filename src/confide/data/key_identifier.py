"""Key identifiers inside Parquet files, `owner/name/version@table`, and what they unwrap.

A data key is wrapped with the whole identifier as context, so it opens for files of that table only.
Format: docs/formats/table.md.
"""

from __future__ import annotations

import base64
import re

from confide.errors import FileChanged, InvalidFormat, Misuse
from confide.keys.material import Keyset
from confide.keys.names import KeyVersion

MAX_IDENTIFIER_CHARS = 256
_IDENTIFIER = re.compile(r"([^/@:]+/[^/@:]+)/([0-9]+)@([0-9a-f]{32})")


def identifier(version: KeyVersion, table: str) -> str:
    """Return the identifier of a key version inside the files of a table.

    The version stands behind a slash, not a colon as elsewhere: Parquet's key tools split their column
    settings at colons.
    """
    return f"{version.key}/{version.version}@{table}"


def parse_identifier(text: str) -> tuple[KeyVersion, str]:
    """Return key version and table id of an identifier.

    Raises:
        InvalidFormat: it is not one.
    """
    match = _IDENTIFIER.fullmatch(text) if len(text) <= MAX_IDENTIFIER_CHARS else None
    try:
        if match:
            return KeyVersion.parse(f"{match[1]}:{match[2]}"), match[3]
    except Misuse:
        pass
    raise InvalidFormat("a key identifier in the Parquet file is not owner/name/version@table")


def version_in(text: str, table: str) -> KeyVersion:
    """Return the key version of an identifier inside a file of `table`.

    Raises:
        InvalidFormat: it is not one.
        FileChanged: it is of another table.
    """
    version, found = parse_identifier(text)
    if found != table:
        raise FileChanged("the Parquet file belongs to another table")
    return version


def unwrap(keyset: Keyset, table: str, wrapped: str, text: str) -> bytes:
    """Return a data key of a file of `table`.

    Args:
        keyset: holds the key that wraps it.
        table: id of the table.
        wrapped: base64.
        text: the identifier that stands beside it.

    Raises:
        InvalidFormat, FileChanged: as `version_in`; not base64.
        UnknownKey, RevokedKey: the key is not held, or was revoked.
        Tampered: it does not authenticate.
    """
    version = version_in(text, table)
    try:
        data = base64.b64decode(wrapped, validate=True)
    except ValueError:
        raise InvalidFormat("a wrapped key in the Parquet file is not base64") from None
    return keyset.unwrap(version, data, text.encode())
