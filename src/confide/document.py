"""Base of the documents that are kept, signed and exchanged: strict models with one canonical form."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict

from confide.canonical import canonical_json


class StrictModel(BaseModel):
    """Base of every document model: immutable, no unknown fields, no coercion."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    def canonical(self) -> bytes:
        """Return the document's canonical JSON (RFC 8785)."""
        value: dict[str, Any] = self.model_dump(mode="json")
        return canonical_json(value)

    @classmethod
    def from_json(cls, data: bytes) -> Self:
        """Parse strictly from JSON bytes. Raises pydantic's ValidationError."""
        return cls.model_validate_json(data)
