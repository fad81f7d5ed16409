"""Items from the cache, or fetched when they are asked for: once for all who ask, and never too many at a time.

Evidence that asks is not verified yet: who can name what a policy approves can make the broker ask a server, but only
so often, and hold up only so many of its threads.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar

from confide.broker.collateral.cache import Cache
from confide.broker.collateral.item import AnyItem, Item
from confide.broker.collateral.sources import Sources
from confide.broker.sessions import RateLimit
from confide.errors import BrokerUnavailable, CollateralUnavailable

DOORS = 8
"""Fetches at a time; the same thing is always behind the same door."""
WAITING = 32
"""Threads that may wait for fetches: fewer than the broker has, so that some are left for those who need none."""
FAILURE_S = 60.0
"""How long a failed fetch is not tried again."""
REMEMBERED = 1024
RATE_PER_S = 1.0
BURST = 100

Value = TypeVar("Value")


class Finder:
    """Finds items. For worker threads: it blocks, and must not be called from one that runs an event loop.

    Args:
        cache: where they are kept.
        sources: where they are fetched from.
        monotonic: seconds of a clock that never goes back.
        rate_per_s: sustained fetches of each kind of item from each server.
        burst: of those at once.
    """

    def __init__(
        self,
        cache: Cache,
        sources: Sources,
        monotonic: Callable[[], float] = time.monotonic,
        rate_per_s: float = RATE_PER_S,
        burst: int = BURST,
    ) -> None:
        self._cache = cache
        self._sources = sources
        self._monotonic = monotonic
        self._limit = RateLimit(monotonic, rate_per_s, burst)
        self._room = threading.BoundedSemaphore(WAITING)
        self._doors = [threading.Lock() for _ in range(DOORS)]
        self._failures: OrderedDict[str, tuple[float, str]] = OrderedDict()
        self._failures_lock = threading.Lock()

    def find(
        self,
        item: Item[Value],
        before_fetching: Callable[[], None] = lambda: None,
        before_keeping: Callable[[Value], None] = lambda _: None,
    ) -> Value:
        """Return an item's value from the cache, or else fetched, verified and kept.

        Args:
            item: what to find.
            before_fetching: raises what should keep it from being fetched.
            before_keeping: is given what was fetched and verified, and raises what should keep it from being kept.

        Raises:
            CollateralUnavailable: it is not to be had; why, and what to type.
        """
        try:
            return self._cache.get(item)
        except CollateralUnavailable as error:
            state = str(error)
        server = item.server(self._sources)
        if server is None:
            raise CollateralUnavailable(f"{state}. {_offline(item)}")
        before_fetching()
        if not self._room.acquire(blocking=False):
            raise CollateralUnavailable(f"{state}; too many wait for what is fetched right now, try again")
        try:
            with self._doors[hash(item.name) % DOORS]:
                return self._behind_door(item, server, before_keeping)
        finally:
            self._room.release()

    def _behind_door(self, item: Item[Value], server: str, before_keeping: Callable[[Value], None]) -> Value:
        try:
            return self._cache.get(item)  # who was here before has it
        except CollateralUnavailable as error:
            state = str(error)
        reason = self._recent_failure(item.name)
        if reason is None:
            try:
                return self._fetch(item, server, before_keeping)
            except CollateralUnavailable as error:
                reason = str(error)
                self._remember(item.name, reason)
                self._cache.failed(item, reason)
        known = state if reason in state else f"{state}; {reason}"
        raise CollateralUnavailable(f"{known}. {_online(item)}")

    def _fetch(self, item: Item[Value], server: str, before_keeping: Callable[[Value], None]) -> Value:
        try:
            self._limit.take(
                f"{server} {type(item).__name__}"
            )  # chips, which anybody may name, leave CRLs theirs
        except BrokerUnavailable:
            raise CollateralUnavailable(f"{server} was asked too often just now") from None
        return self._cache.put(item, item.fetch(self._sources), server, before_keeping)

    def _recent_failure(self, name: str) -> str | None:
        with self._failures_lock:
            until, reason = self._failures.get(name, (0.0, ""))
        return reason if self._monotonic() < until else None

    def _remember(self, name: str, reason: str) -> None:
        with self._failures_lock:
            self._failures.pop(name, None)
            self._failures[name] = (self._monotonic() + FAILURE_S, reason)
            while len(self._failures) > REMEMBERED:
                self._failures.popitem(last=False)


def _offline(item: AnyItem) -> str:
    return (
        "This broker fetches nothing (--offline): on a machine that is online, "
        f"`confide collateral fetch {item.options} --output FILE`; here, `confide collateral import FILE`"
    )


def _online(item: AnyItem) -> str:
    return (
        f"Once that is mended, `confide collateral fetch {item.options}`; or on another machine with --output FILE, "
        "and here `confide collateral import FILE`"
    )
