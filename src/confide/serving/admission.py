"""What one client may ask, and all of them together: bytes of a request, requests a second, bytes at once.

One account for all protocols of a worker: who asks in two ways is still one client.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator

from confide.broker.sessions import RateLimit
from confide.errors import BrokerUnavailable
from confide.serving.configuration import Configuration
from confide.serving.failures import Overloaded, TooLarge

MAX_PENDING_BYTES = 256 * 1024 * 1024
PENDING_SHARE = 4
"""One client's requests take a quarter of that at most."""


class Admission:
    """Takes requests, or refuses them before they are read.

    Args:
        configuration: the owner's.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._most = configuration.max_body_mib * 1024 * 1024
        self._limit = RateLimit(time.monotonic, configuration.rate_per_s, configuration.burst)
        self._pending = Pending(max(MAX_PENDING_BYTES, PENDING_SHARE * self._most))

    def take(self, client: str) -> None:
        """Count a request.

        Raises:
            Overloaded: this client asks too often.
        """
        take(self._limit, client)

    def check_size(self, size: int) -> None:
        """Return if a request may have so many bytes.

        Raises:
            TooLarge: it may not.
        """
        if size > self._most:
            raise TooLarge(f"a request has at most {self._most} bytes")

    def pending(self, client: str) -> contextlib.AbstractContextManager[Callable[[int], None]]:
        """Return what counts the bytes of one request as long as it is under way (`Pending.of`)."""
        return self._pending.of(client)


class Pending:
    """Bytes of the requests that are under way.

    Args:
        most: of all clients together; of one, its share.
    """

    def __init__(self, most: int) -> None:
        self._most, self._share = most, most // PENDING_SHARE
        self._all = 0
        self._by_client: Counter[str] = Counter()

    @contextlib.contextmanager
    def of(self, client: str) -> Iterator[Callable[[int], None]]:
        """Yield what counts the bytes of one request as they come, and forget them when the block ends.

        What it yields raises Overloaded: they are too many.
        """
        counted = 0

        def count(size: int) -> None:
            nonlocal counted
            counted += size
            self._all += size
            self._by_client[client] += size
            if self._all > self._most or self._by_client[client] > self._share:
                raise Overloaded("too many bytes of requests at once")

        try:
            yield count
        finally:
            self._all -= counted
            self._by_client[client] -= counted
            if not self._by_client[client]:
                del self._by_client[client]


def take(limit: RateLimit, client: str) -> None:
    """Count a request of a client under a limit.

    Raises:
        Overloaded: it asks too often.
    """
    try:
        limit.take(client)
    except BrokerUnavailable:
        raise Overloaded("this client asks too often") from None
