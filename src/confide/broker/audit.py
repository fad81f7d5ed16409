"""The audit log: an append-only Merkle tree (RFC 9162) in the store's database. Interface first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class AuditEntry:
    """One entry: `leaf` is the canonical JSON that was hashed; `time` is Unix seconds."""

    index: int
    time: int
    kind: str
    fields: dict[str, Any]
    leaf: bytes


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log that its key signed: `size` entries with the tree hash `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes


class AuditLog:
    """Append-only log of a store."""

    def append(self, entry: Mapping[str, Any]) -> int:
        """Append `{"kind": ..., **fields}` (JSON values) in the current transaction; return its index (from 0)."""
        raise NotImplementedError

    def size(self) -> int:
        """Return the number of entries."""
        raise NotImplementedError

    def entries(
        self,
        start: int = 0,
        limit: int = 100,
        *,
        kind: str | None = None,
        since: int | None = None,
        until: int | None = None,
        fields: Mapping[str, str | int] | None = None,
    ) -> list[AuditEntry]:
        """Return up to `limit` entries from index `start` on that match; times are Unix seconds [since, until)."""
        raise NotImplementedError

    def checkpoint(self) -> str:
        """Return the current state as a signed note (C2SP tlog-checkpoint)."""
        raise NotImplementedError

    def verifier_key(self) -> str:
        """Return the log's key as a C2SP verifier key, `origin+hex+base64`."""
        raise NotImplementedError

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the RFC 9162 inclusion path of an entry in the tree of `size` entries."""
        raise NotImplementedError

    def consistency_proof(self, old_size: int, new_size: int | None = None) -> list[bytes]:
        """Return the RFC 9162 consistency path between two sizes."""
        raise NotImplementedError

    def verify(self, kept: Checkpoint | None = None) -> Checkpoint:
        """Rehash every entry; compare with the stored tree and with a checkpoint kept elsewhere. Raises Tampered."""
        raise NotImplementedError
