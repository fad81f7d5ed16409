"""What every part of the store is made of: a database, the root key that seals its cells, and a clock."""

from __future__ import annotations

from collections.abc import Callable

from confide.broker.database import Database
from confide.keys.material import unwrap_with, wrap_with


class Records:
    """Base of the store's parts.

    Args:
        database: shared by all parts.
        root: the store's root key, 32 bytes; in memory only.
        clock: Unix seconds.
    """

    def __init__(self, database: Database, root: bytes, clock: Callable[[], int]) -> None:
        self._database = database
        self._root = root
        self._clock = clock

    def _seal(self, kind: str, name: str, value: bytes) -> bytes:
        """Wrap a cell's value; `kind` has no '/', so that `kind/name` is one of a kind."""
        return wrap_with(self._root, value, f"{kind}/{name}".encode())

    def _unseal(self, kind: str, name: str, sealed: bytes) -> bytes:
        """Reverse `_seal`. Raises Tampered: cut, changed, or a cell from another place."""
        return unwrap_with(self._root, sealed, f"{kind}/{name}".encode())
