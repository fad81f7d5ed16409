"""What one client may ask, and all of them together: bytes of a request, requests a second, bytes at once.

One account for all protocols of a worker: who asks in two ways is still one client.
"""

from __future__ import annotations

import time
from typing import Self

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

    def pending(self, client: str) -> Account:
        """Return what counts the bytes of one request and its reply as long as it is under way."""
        return Account(self._pending, client)


class Pending:
    """Bytes that are under way, or what else there may be so much of at once.

    Args:
        most: of all clients together; of one, its share.
        what: is counted, as it is told.
    """

    def __init__(self, most: int, what: str = "bytes of requests and replies") -> None:
        self._most, self._share, self._what = most, most // PENDING_SHARE, what
        self._all = 0
        self._by_client: dict[str, int] = {}

    def add(self, client: str, size: int) -> None:
        """Count; what is negative is over."""
        self._all += size
        if now := self._by_client.get(client, 0) + size:
            self._by_client[client] = now
        else:
            self._by_client.pop(client, None)

    def require(self, client: str, more: int) -> None:
        """Return if there may be so much more.

        Raises:
            Overloaded: it is too much.
        """
        if self._all + more > self._most or self._by_client.get(client, 0) + more > self._share:
            raise Overloaded(f"too many {self._what} at once")


class Account:
    """What one request counts, until the block ends that it is entered for.

    Args:
        pending: counts.
        client: whose request it is.
    """

    def __init__(self, pending: Pending, client: str) -> None:
        self._pending, self._client, self._counted = pending, client, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pending.add(self._client, -self._counted)

    def add(self, size: int) -> None:
        """Count so much more.

        Raises:
            Overloaded: it is too much.
        """
        self._counted += size
        self._pending.add(self._client, size)
        self._pending.require(self._client, 0)

    def require(self, more: int) -> None:
        """Return if so much more could be counted.

        Raises:
            Overloaded: it could not.
        """
        self._pending.require(self._client, more)


def take(limit: RateLimit, client: str) -> None:
    """Count a request of a client under a limit.

    Raises:
        Overloaded: it asks too often.
    """
    try:
        limit.take(client)
    except BrokerUnavailable:
        raise Overloaded("this client asks too often") from None
