"""Renewing what is kept, ahead of its expiry: a thread beside the broker.

It is renewed daily, long before it expires, because what matters may come any day: a revocation, a new verdict on a
platform. A failure leaves the old one in use as long as it is valid.
"""

from __future__ import annotations

import logging
import secrets
import threading
from types import TracebackType
from typing import Self

from confide.broker.collateral.cache import Cache
from confide.broker.collateral.item import AnyItem, iso
from confide.broker.collateral.names import item_named
from confide.broker.collateral.sources import Sources
from confide.broker.store_collateral import StoredCollateral
from confide.errors import ConfideError, InvalidFormat

DAY_S = 24 * 3600
LONG_LIVED_S = 400 * DAY_S
"""What is valid for longer states what does not change (certificates of chips), and is renewed only towards its end."""
AHEAD_S = 30 * DAY_S
RETRY_S = 15 * 60
LOOK_EVERY_S = 300.0
_STOP_S = 5.0

_LOG = logging.getLogger(__name__)


def due(kept: StoredCollateral) -> int:
    """Return when something that is kept should be fetched anew, in Unix seconds."""
    if kept.failed is not None:
        return kept.failed + RETRY_S
    if kept.expires - kept.obtained > LONG_LIVED_S:
        return kept.expires - AHEAD_S
    lifetime = kept.expires - kept.obtained
    return kept.obtained + max(RETRY_S, min(DAY_S, lifetime // 2))


def refresh(cache: Cache, sources: Sources, *, even_if_not_due: bool = False) -> int:
    """Fetch anew what is due, one after another; return how many of them failed, each with a line in the log.

    Not to be called from a thread that runs an event loop.
    """
    failures = 0
    for kept in cache.all():
        item = _known(kept)
        if item is None or item.server(sources) is None:
            continue
        if even_if_not_due or due(kept) <= cache.now():
            failures += not _renewed(cache, sources, item, kept)
    return failures


class Refresher:
    """Refreshes in a thread of its own, for the time of a `with` block.

    Args:
        cache: what is kept.
        sources: where it is fetched from.
        look_every_s: how often to see what is due, on average: brokers that started together drift apart.
    """

    def __init__(self, cache: Cache, sources: Sources, look_every_s: float = LOOK_EVERY_S) -> None:
        self._cache = cache
        self._sources = sources
        self._look_every_s = look_every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="collateral", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(_STOP_S)

    def _run(self) -> None:
        random = secrets.SystemRandom()
        while not self._stop.wait(self._look_every_s * random.uniform(0.5, 1.5)):
            try:
                refresh(self._cache, self._sources)
            except ConfideError as error:
                _LOG.warning("collateral is not refreshed: %s", error)
            except Exception:  # noqa: BLE001 - a thread that ended would be missed only when all has expired
                _LOG.exception("collateral is not refreshed")


def _renewed(cache: Cache, sources: Sources, item: AnyItem, kept: StoredCollateral) -> bool:
    try:
        cache.put(item, item.fetch(sources), item.server(sources) or "")
    except ConfideError as error:
        cache.failed(item, str(error))
        _LOG.warning("%s, valid until %s, is not refreshed: %s", item.title, iso(kept.expires), error)
        return False
    return True


def _known(kept: StoredCollateral) -> AnyItem | None:
    """Return the item; None: a newer version of this program keeps what this one does not know."""
    try:
        return item_named(kept.name)
    except InvalidFormat:
        return None
