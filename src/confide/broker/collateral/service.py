"""Collateral for a broker that runs: found or fetched for evidence, and renewed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confide.attestation.trust import HardwareTrust
from confide.broker.collateral.cache import Cache, CollateralStore
from confide.broker.collateral.endorsements import FoundEndorsements
from confide.broker.collateral.finder import Finder
from confide.broker.collateral.item import Roots
from confide.broker.collateral.refresh import Refresher
from confide.broker.collateral.sources import Sources
from confide.broker.store import unix_now


@contextmanager
def hardware_trust(
    store: CollateralStore,
    sources: Sources,
    clock: Callable[[], int] = unix_now,
    roots: Roots | None = None,
) -> Iterator[HardwareTrust]:
    """Yield what evidence of hardware is anchored to; collateral is renewed until the block ends.

    Args:
        store: keeps it; stays open as long.
        sources: where it is fetched from.
        clock: Unix seconds.
        roots: what it must lead to instead of the pinned ones, in tests.
    """
    roots = Roots() if roots is None else roots
    cache = Cache(store, clock, roots)
    with Refresher(cache, sources):
        yield HardwareTrust(FoundEndorsements(Finder(cache, sources), roots), roots.intel, roots.amd)
