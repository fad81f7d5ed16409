"""Fixed binary layouts of attestation evidence: named fields at known offsets, little-endian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from confide.errors import InvalidFormat


@dataclass(frozen=True)
class Field:
    """One field.

    Attributes:
        name: in snake case, close to the vendor's name.
        offset: from the start of the structure, in bytes.
        size: in bytes.
        number: read as an unsigned little-endian number, else as bytes.
    """

    name: str
    offset: int
    size: int
    number: bool = False


@dataclass(frozen=True)
class Layout:
    """A structure of fixed size.

    Attributes:
        name: for messages.
        size: in bytes.
        fields: in the order of their offsets; what no field covers is reserved.
    """

    name: str
    size: int
    fields: tuple[Field, ...]

    def read(self, data: bytes, at: int = 0) -> dict[str, int | bytes]:
        """Return every field of the structure that starts at offset `at` of `data`, by name.

        Raises:
            InvalidFormat: `data` ends before the structure does.
        """
        if len(data) - at < self.size:
            raise InvalidFormat(f"{self.name}: {max(len(data) - at, 0)} bytes, {self.size} are needed")
        part = data[at : at + self.size]
        return {field.name: _value(part, field) for field in self.fields}

    def reserved(self, data: bytes, at: int = 0) -> bytes:
        """Return the bytes of the structure that no field covers."""
        part = bytearray(data[at : at + self.size])
        for field in reversed(self.fields):
            del part[field.offset : field.offset + field.size]
        return bytes(part)


def _value(part: bytes, field: Field) -> int | bytes:
    raw = part[field.offset : field.offset + field.size]
    return int.from_bytes(raw, "little") if field.number else raw


def printable(values: Mapping[str, int | bytes]) -> dict[str, int | str]:
    """Return the values for people and JSON: numbers as they are, bytes in lower-case hex."""
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in values.items()}
