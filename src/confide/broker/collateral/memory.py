"""Collateral kept in memory: of a command that hands on what it fetched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

from confide.broker.store_collateral import StoredCollateral


class CollateralInMemory:
    """Implements `CollateralStore`, for one thread.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._kept: dict[str, StoredCollateral] = {}

    def transaction(self) -> AbstractContextManager[None]:
        """Return a context without effect."""
        return contextlib.nullcontext()

    def put_collateral(self, name: str, document: bytes, *, source: str, expires: int) -> None:
        """Keep collateral."""
        self._kept[name] = StoredCollateral(name, document, source, self._clock(), expires, None, "")

    def put_collateral_failure(self, name: str, reason: str) -> None:
        """Forget: there is nothing that could go on in use."""

    def collateral(self, name: str) -> StoredCollateral | None:
        """Return what is kept under a name."""
        return self._kept.get(name)

    def collaterals(self) -> list[StoredCollateral]:
        """Return all that is kept, in the order in which it came."""
        return list(self._kept.values())
