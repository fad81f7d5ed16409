"""The audit log: what the broker did, append-only, in the store's database and its transactions.

Entries are leaves of an RFC 9162 tree. Whoever keeps a signed checkpoint can tell later whether the log only
grew since. Format: docs/formats/audit-log.md.
"""

from __future__ import annotations

import hmac
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from confide.broker import merkle
from confide.broker.checkpoint import Checkpoint, origin_of, sign_checkpoint, verifier_key
from confide.broker.database import Database
from confide.canonical import canonical_json
from confide.errors import Misuse, Tampered

MAX_ENTRY_BYTES = 64 * 1024
MAX_PAGE = 10_000

_KIND = re.compile(r"[a-z][a-z0-9._-]{0,63}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")
_T = TypeVar("_T")


@dataclass(frozen=True)
class AuditEntry:
    """One entry.

    Attributes:
        index: place in the log, from 0.
        time: Unix seconds, by the broker's clock.
        kind: what happened.
        fields: to what; JSON values, never secrets.
        leaf: the canonical JSON of the four above, as it was hashed.
    """

    index: int
    time: int
    kind: str
    fields: Mapping[str, Any]
    leaf: bytes


class AuditLog:
    """The log of one store.

    Args:
        database: the store's.
        signing_key: signs checkpoints.
        clock: Unix seconds.
    """

    def __init__(self, database: Database, signing_key: Ed25519PrivateKey, clock: Callable[[], int]) -> None:
        self._database = database
        self._signing_key = signing_key
        self._clock = clock

    def append(self, entry: Mapping[str, Any]) -> int:
        """Append `{"kind": ..., **fields}`, in the caller's transaction if there is one.

        Returns:
            The entry's index.

        Raises:
            Misuse: no kind, names outside `[a-z][a-z0-9_]*`, values that are not JSON, more than 64 KiB.
        """
        fields = dict(entry)
        kind = fields.pop("kind", None)
        if not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise Misuse("an audit entry has a kind")
        if not all(_FIELD.fullmatch(name) for name in fields):
            raise Misuse(f"audit entry {kind} has a field name outside a-z, 0-9, '_'")
        with self._database.transaction():
            index = self.size()
            try:
                leaf = canonical_json({"index": index, "time": self._clock(), "kind": kind, "fields": fields})
            except ValueError:
                raise Misuse(f"audit entry {kind} has a field that is not JSON") from None
            if len(leaf) > MAX_ENTRY_BYTES:
                raise Misuse(f"audit entry {kind} is larger than {MAX_ENTRY_BYTES} bytes")
            self._database.run("INSERT INTO audit_entry VALUES (?, ?)", index, leaf.decode())
            nodes = merkle.completed(index, merkle.leaf_hash(leaf), self._node)
            self._database.run_for_each("INSERT INTO audit_node VALUES (?, ?, ?)", nodes)
        return index

    def size(self) -> int:
        """Return the number of entries."""
        return int(self._database.row("SELECT coalesce(max(position) + 1, 0) FROM audit_entry")[0])

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
        """Return the first `limit` entries from index `start` on that match every filter given.

        Args:
            start: first index looked at.
            limit: at most 10,000.
            kind: this kind only.
            since: Unix seconds, inclusive.
            until: Unix seconds, exclusive.
            fields: these fields have these values.

        Raises:
            Tampered: an entry does not hash to its leaf in the tree.
            Misuse: a limit outside 1..10,000, or a field name that no entry can have.
        """
        wanted: list[tuple[tuple[str, ...], str, str | int | None]] = [
            (("kind",), "=", kind),
            (("time",), ">=", since),
            (("time",), "<", until),
        ]
        for name, value in (fields or {}).items():
            if not _FIELD.fullmatch(name):
                raise Misuse(f"no audit entry has a field {name[:64]!r}")
            wanted.append((("fields", name), "=", value))
        given: list[tuple[str, Any]] = [("e.position >= ?", start)]
        given += [
            self._database.json_condition("leaf", path, operator, value)
            for path, operator, value in wanted
            if value is not None
        ]
        return self._page(given, "ASC", limit)

    def newest(self, limit: int = 100, *, kind: str | None = None) -> list[AuditEntry]:
        """Return the last `limit` entries, of one kind or all, oldest first; limit and errors as in `entries`."""
        given = [self._database.json_condition("leaf", ("kind",), "=", kind)] if kind is not None else []
        return self._page(given, "DESC", limit)[::-1]

    def _page(self, given: list[tuple[str, Any]], order: str, limit: int) -> list[AuditEntry]:
        if not 1 <= limit <= MAX_PAGE:
            raise Misuse(f"a page of the audit log has 1 to {MAX_PAGE} entries")
        query = (
            "SELECT e.position, leaf, hash FROM audit_entry e"  # noqa: S608 - no condition comes from outside
            " LEFT JOIN audit_node n ON n.level = 0 AND n.position = e.position"
            f" WHERE {' AND '.join(condition for condition, _ in given) or 'TRUE'}"
            f" ORDER BY e.position {order} LIMIT ?"
        )
        rows = self._database.rows(query, *(value for _, value in given), limit)
        return [_entry(*row) for row in rows]

    def checkpoint(self) -> str:
        """Return the log's present state as a signed note (see `broker.checkpoint`)."""
        with self._database.transaction():
            size = self.size()
            root = self._read_at_once(lambda node: merkle.root_hash(size, node))
            return sign_checkpoint(size, root, self._signing_key)

    def verifier_key(self) -> str:
        """Return the key that verifies this log's checkpoints, as text."""
        return verifier_key(self._signing_key.public_key())

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Return the path of entry `index` in the tree of `size` entries (all, by default).

        Raises:
            Misuse: there is no such entry or size.
        """
        within = self._within(size)
        return self._read_at_once(lambda node: merkle.inclusion_path(index, within, node))

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """Return the proof that the tree of `new` entries (all, by default) begins with that of `old`.

        Raises:
            Misuse: there are no such sizes.
        """
        within = self._within(new)
        return self._read_at_once(lambda node: merkle.consistency_path(old, within, node))

    def verify(self, kept: Checkpoint | None = None) -> Checkpoint:
        """Hash every entry again and compare with the tree, and with a checkpoint that was kept elsewhere.

        Returns:
            The verified state.

        Raises:
            Tampered: an entry was changed, reordered or removed; the log is not the one that `kept` saw.
        """
        origin = origin_of(self._signing_key.public_key())
        if kept is not None and kept.origin != origin:
            raise Tampered(f"checkpoint of another log, {kept.origin}")
        tree: dict[tuple[int, int], bytes] = {}  # the complete subtrees that make up the root so far
        size = 0

        def node(level: int, position: int) -> bytes:
            return tree[level, position]

        for entry in self.all():
            _matches(kept, size, node)
            *merged, (level, position, top) = merkle.completed(size, merkle.leaf_hash(entry.leaf), node)
            for lower, right, _ in merged:
                del tree[lower, right - 1]
            tree[level, position] = top
            size += 1
        _matches(kept, size, node)
        if kept is not None and kept.size > size:
            raise Tampered(f"the log has {size} entries, the checkpoint kept has {kept.size}")
        root = merkle.root_hash(size, node)
        if not hmac.compare_digest(root, self._read_at_once(lambda node: merkle.root_hash(size, node))):
            raise Tampered("the log's entries do not hash to its tree")
        return Checkpoint(origin, size, root)

    def all(self) -> Iterator[AuditEntry]:
        """Yield every entry, in order. Raises Tampered as `entries`, and where one is missing."""
        start = 0
        while page := self.entries(start, MAX_PAGE):
            for entry in page:
                if entry.index != start:
                    raise Tampered(f"entry {start} of the audit log is missing")
                yield entry
                start += 1

    def _within(self, size: int | None) -> int:
        present = self.size()
        if size is None:
            return present
        if not 0 < size <= present:
            raise Misuse(f"the audit log has {present} entries, not {size}")
        return size

    def _read_at_once(self, work: Callable[[merkle.Node], _T]) -> _T:
        """Return what `work` makes of the tree's nodes. Which ones it asks for does not depend on what they are.

        So it is asked twice, and they are read in between, in one query: what a proof takes hardly grows with the log.
        """
        wanted: list[tuple[int, int]] = []

        def want(level: int, position: int) -> bytes:
            wanted.append((level, position))
            return bytes(merkle.HASH_BYTES)

        made = work(want)
        if not wanted:
            return made
        query = (
            "SELECT level, position, hash FROM audit_node WHERE "  # noqa: S608 - nothing in it comes from outside
            + " OR ".join(["(level = ? AND position = ?)"] * len(wanted))
        )
        rows = self._database.rows(query, *itertools.chain.from_iterable(wanted))
        found = {(level, position): bytes(stored) for level, position, stored in rows}

        def node(level: int, position: int) -> bytes:
            try:
                return found[level, position]
            except KeyError:
                raise _lacks(level, position) from None

        return work(node)

    def _node(self, level: int, position: int) -> bytes:
        query = "SELECT hash FROM audit_node WHERE level = ? AND position = ?"
        row = self._database.row(query, level, position)
        if row is None:
            raise _lacks(level, position)
        return bytes(row[0])


def _lacks(level: int, position: int) -> Tampered:
    return Tampered(f"the audit log's tree lacks a node ({level}, {position})")


def _matches(kept: Checkpoint | None, size: int, node: merkle.Node) -> None:
    if (
        kept is not None
        and kept.size == size
        and not hmac.compare_digest(merkle.root_hash(size, node), kept.root)
    ):
        raise Tampered(f"the first {size} entries are not those of the checkpoint kept")


def _entry(position: int, leaf: str, stored: bytes | None) -> AuditEntry:
    data = leaf.encode()
    if stored is None or not hmac.compare_digest(merkle.leaf_hash(data), stored):
        raise Tampered(f"entry {position} of the audit log was changed")
    document = json.loads(data)
    if document["index"] != position:
        raise Tampered(f"entry {position} of the audit log was moved")
    return AuditEntry(position, document["time"], document["kind"], document["fields"], data)
