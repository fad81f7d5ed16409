"""Audit logs held against what was seen of them before: a home keeps the last checkpoint of each, its own and others'.

A log that was cut or rewritten since cannot hide it from who kept a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from confide.broker.audit import AuditEntry
from confide.broker.checkpoint import Checkpoint, open_checkpoint
from confide.broker.home import Home
from confide.broker.merkle import verify_consistency, verify_inclusion
from confide.broker.owner_client import OwnerClient
from confide.canonical import canonical_json
from confide.data.atomic import atomic_file
from confide.errors import BrokerUnavailable, Tampered

_OWN = "audit.checkpoint"


def verify_own_log(home: Home) -> tuple[Checkpoint | None, Checkpoint]:
    """Rehash the home's own log; return what was seen before, and what is seen now, which is kept.

    Raises:
        Tampered: an entry was changed, or the log is not the one that was seen.
    """
    log, kept = home.store.audit, _kept(home, _OWN)
    seen = None if kept is None else open_checkpoint(kept, log.verifier_key())
    now = log.verify(seen)
    _keep(home, _OWN, log.checkpoint())
    return seen, now


def remote_entries(client: OwnerClient) -> list[AuditEntry]:
    """Return the owner's entries as a broker tells them. `verify_remote_log` verifies those that are used."""
    try:
        return [
            AuditEntry(one["index"], one["time"], one["kind"], one["fields"], canonical_json(one))
            for one in client.audit_entries()
        ]
    except (KeyError, TypeError, ValueError):
        raise BrokerUnavailable("the broker's answer holds no audit entries") from None


def verify_remote_log(home: Home, client: OwnerClient, entries: Iterable[AuditEntry]) -> Checkpoint:
    """Verify that entries are in a broker's log, and that it extends what was seen; return its state, which is kept.

    Raises:
        Tampered: an entry is not in it; it was cut or rewritten, or is another log than was seen.
        BrokerUnavailable, BrokerUntrusted, SignatureRefused: as every call.
    """
    name = f"audit.{client.authority}.checkpoint"
    note, verifier = client.audit_checkpoint()
    now, kept = open_checkpoint(note, verifier), _kept(home, name)
    if kept is not None:
        seen = open_checkpoint(kept, verifier)
        if seen.size > now.size:
            raise Tampered(f"the broker's log has {now.size} entries, the checkpoint kept has {seen.size}")
        proof = client.consistency_proof(seen.size, now.size) if 0 < seen.size < now.size else []
        verify_consistency(seen.size, seen.root, now.size, now.root, proof)
    for entry in entries:
        path = client.inclusion_proof(entry.index, now.size)
        verify_inclusion(entry.leaf, entry.index, now.size, now.root, path)
    _keep(home, name, note)
    return now


def _kept(home: Home, name: str) -> str | None:
    path = Path(home.path, name)
    return path.read_text(encoding="utf-8") if path.exists() else None


def _keep(home: Home, name: str, note: str) -> None:
    with atomic_file(Path(home.path, name), overwrite=True, mode=0o600) as file:
        file.write(note.encode())
