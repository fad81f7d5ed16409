"""The two documents of recovery: the set of sealed shares, and an owner's answer. Canonical JSON (RFC 8785)."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator

from confide.canonical import canonical_json, sha256_hex
from confide.document import StrictModel
from confide.errors import InvalidFormat
from confide.keys.recovery.key import OVERHEAD_BYTES

MAX_SHARES = 255
MAX_SET_BYTES = 256 * 1024
MAX_ANSWER_BYTES = 4096
SHARE_BYTES = 32

_SEALED_BYTES = OVERHEAD_BYTES + SHARE_BYTES

Hex16 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Index = Annotated[int, Field(ge=1, le=MAX_SHARES)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Sealed = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{106}[AEIMQUYcgkosw048]=$")]
"""80 bytes in base64. The 107th digit carries four bits: no two texts are the same bytes."""


class SealedShare(StrictModel):
    """One owner's share.

    Attributes:
        index: x coordinate, from 1.
        owner: whose it is; a name for people.
        key: id of the recovery key to which it is sealed.
        commitment: SHA-256 by which the share is recognized once it is opened.
        sealed: HPKE's ephemeral public key, ciphertext and tag, base64.
    """

    index: Index
    owner: Label
    key: Hex32
    commitment: Hex32
    sealed: Sealed


class RecoverySet(StrictModel):
    """All shares of one root key. Whoever has it learns nothing but names and numbers.

    Attributes:
        store: id of the store whose root key it is.
        set: random; no two sets have the same.
        threshold: how many owners it takes.
        commitment: SHA-256 by which the root key is recognized once it is combined.
        shares: in the order of their indexes, 1 to n.
    """

    format: Literal["confide/recovery-set/v1"] = "confide/recovery-set/v1"
    store: Hex16
    set: Hex16
    threshold: Annotated[int, Field(ge=2, le=MAX_SHARES)]
    commitment: Hex32
    shares: Annotated[list[SealedShare], Field(min_length=2, max_length=MAX_SHARES)]

    @field_validator("shares")
    @classmethod
    def _ordered(cls, shares: list[SealedShare]) -> list[SealedShare]:
        if [share.index for share in shares] != list(range(1, len(shares) + 1)):
            raise ValueError("indexes are not 1 to n")
        if len({share.key for share in shares}) != len(shares):
            raise ValueError("two shares are sealed to the same key")
        if len({share.owner for share in shares}) != len(shares):
            raise ValueError("two owners have the same name")
        return shares

    @classmethod
    def parse(cls, data: bytes) -> RecoverySet:
        """Parse the file of a set.

        Raises:
            InvalidFormat: not a set, or larger than 256 KiB.
        """
        if len(data) > MAX_SET_BYTES:
            raise InvalidFormat(f"a recovery set has at most {MAX_SET_BYTES} bytes")
        try:
            parsed = cls.from_json(data)
        except (ValidationError, ValueError):
            raise InvalidFormat("not a recovery set of version 1") from None
        if parsed.threshold > len(parsed.shares):
            raise InvalidFormat("not a recovery set: it asks for more owners than it has")
        return parsed

    def digest(self) -> str:
        """Return the SHA-256 of the canonical document, 64 hex digits."""
        return sha256_hex(self.canonical())

    def share_info(self, share: SealedShare) -> bytes:
        """Return what is authenticated with a share: everything that the set says but the shares of others."""
        said = self.model_dump(mode="json", exclude={"shares"})
        return canonical_json(
            said | {"of": len(self.shares), "share": share.model_dump(mode="json", exclude={"sealed"})}
        )


class Answer(StrictModel):
    """An owner's share, opened and sealed again to the key of the machine that restores.

    Attributes:
        set: SHA-256 of the recovery set.
        index: whose share.
        to: id of the recovery key of the machine that restores.
        sealed: HPKE's ephemeral public key, ciphertext and tag, base64.
    """

    format: Literal["confide/recovery-answer/v1"] = "confide/recovery-answer/v1"
    set: Hex32
    index: Index
    to: Hex32
    sealed: Sealed

    @classmethod
    def parse(cls, data: bytes) -> Answer:
        """Parse the file of an answer.

        Raises:
            InvalidFormat: not an answer, or larger than 4 KiB.
        """
        if len(data) > MAX_ANSWER_BYTES:
            raise InvalidFormat(f"a recovery answer has at most {MAX_ANSWER_BYTES} bytes")
        try:
            return cls.from_json(data)
        except (ValidationError, ValueError):
            raise InvalidFormat("not a recovery answer of version 1") from None


def answer_info(digest: str, index: int, to: str) -> bytes:
    """Return what is authenticated with an answer: all of it but the sealed share."""
    return canonical_json({"format": "confide/recovery-answer/v1", "set": digest, "index": index, "to": to})


def encode(sealed: bytes) -> str:
    """Return the base64 of 80 bytes."""
    if len(sealed) != _SEALED_BYTES:
        raise ValueError("not a sealed share")
    return base64.b64encode(sealed).decode()


def decode(sealed: str) -> bytes:
    """Reverse `encode`, for a field of a document that was parsed."""
    return base64.b64decode(sealed, validate=True)
