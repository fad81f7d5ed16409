"""Refusals of those of whom nothing is known yet, in the audit log: not so many that a stranger could fill it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from confide.broker import audit_entries
from confide.broker.sessions import RateLimit
from confide.broker.store import Store
from confide.errors import BrokerUnavailable, ConfideError

AT_ONCE = 100
PER_SECOND = 1 / 10


class Strangers:
    """Logs who was refused before evidence or signature was verified: 100 at once, six a minute, whoever it was.

    Args:
        store: its audit log.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(self, store: Store, monotonic: Callable[[], float]) -> None:
        self._store = store
        self._limit = RateLimit(monotonic, PER_SECOND, AT_ONCE)
        self._lock = threading.Lock()
        self._left_out = 0

    def refused(self, error: ConfideError, owners: Sequence[str] = (), **told: str) -> None:
        """Log a refusal, with how many were not logged since the last one; or count it, where there were too many.

        Args:
            error: the refusal.
            owners: in whose names it was asked.
            told: further fields of the entry.
        """
        with self._lock:
            try:
                self._limit.take("everybody")
            except BrokerUnavailable:
                self._left_out += 1
                return
            left_out, self._left_out = self._left_out, 0
        counted = {"left_out": left_out} if left_out else {}
        self._store.audit.append({**audit_entries.refusal(error, None, owners), **told, **counted})
