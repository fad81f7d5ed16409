"""Accepts connections of TLS and counts them from then on, one client's apart.

asyncio's own server tells of a connection when its handshake is done, and takes any number of those whose never is.
"""

from __future__ import annotations

import asyncio
import ipaddress
import resource
import socket
import ssl
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

MAX_CONNECTIONS = 512
MAX_OF_ONE_CLIENT = MAX_CONNECTIONS // 2
HANDSHAKE_S = 10.0
"""A handshake of TLS is done within that."""
TAKE_S = 30.0
"""So long may more wait to be sent than the system's buffers hold."""
BACKLOG = 1024
DESCRIPTORS = 8 * MAX_CONNECTIONS
_PAUSE_S = 1.0
"""Where the system has no more descriptors, until it is asked again."""


@lru_cache(maxsize=4096)
def one_client(host: str) -> str:
    """Return what one client can hardly have many of: its address; of IPv6 the network of 64 bits (RFC 6177)."""
    host = host.partition("%")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))


class Accepted(asyncio.Protocol):
    """A connection that tells its acceptor of its end, and ends if its client does not take what it is sent."""

    ended: Callable[[], None] = staticmethod(lambda: None)
    _accepted: asyncio.Transport
    _taking: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._accepted = cast(asyncio.Transport, transport)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self.ended()
        self._taken()
        super().connection_lost(cast(Any, exc))

    def pause_writing(self) -> None:
        """Wait until the client has taken most of what it was sent."""
        self._taking = asyncio.get_running_loop().call_later(TAKE_S, self._accepted.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        """Go on."""
        self._taken()
        super().resume_writing()

    def _taken(self) -> None:
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None


class Acceptor:
    """What accepts on one socket, on the event loop that runs; to be closed as asyncio's `Server` is.

    Args:
        listener: bound; it is closed at the end.
        protocol: makes what serves a connection.
        tls: of the connections.
    """

    def __init__(
        self, listener: socket.socket, protocol: Callable[[], Accepted], tls: ssl.SSLContext
    ) -> None:
        _have_descriptors()
        self.sockets = (listener,)
        self._listener, self._protocol, self._tls = listener, protocol, tls
        self._clients: dict[object, str] = {}
        self._shaking: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self._accepting = self._loop.create_task(self._accept())

    def close(self) -> None:
        """Accept no more, and end the handshakes that are under way."""
        for task in (self._accepting, *self._shaking):
            task.cancel()

    async def wait_closed(self) -> None:
        """Return when that is done."""
        await asyncio.wait((self._accepting, *self._shaking))

    async def _accept(self) -> None:
        with self._listener:
            while True:
                try:
                    accepted, address = await self._loop.sock_accept(self._listener)
                except OSError:
                    await asyncio.sleep(_PAUSE_S)
                    continue
                client = one_client(address[0])
                if not self._has_room(client):
                    accepted.close()
                    continue
                key = object()
                self._clients[key] = client
                task = self._loop.create_task(self._connect(accepted, key))
                self._shaking.add(task)
                task.add_done_callback(self._shaking.discard)

    def _has_room(self, client: str) -> bool:
        of_one = sum(other == client for other in self._clients.values())
        return len(self._clients) < MAX_CONNECTIONS and of_one < MAX_OF_ONE_CLIENT

    async def _connect(self, accepted: socket.socket, key: object) -> None:
        def ended() -> None:
            self._clients.pop(key, None)

        def make() -> Accepted:
            made = self._protocol()
            made.ended = ended
            return made

        try:
            await self._loop.connect_accepted_socket(
                make, accepted, ssl=self._tls, ssl_handshake_timeout=HANDSHAKE_S
            )
        except BaseException as error:
            ended()
            accepted.close()
            if not isinstance(error, OSError):  # a handshake that failed is its client's affair
                raise


def _have_descriptors() -> None:
    """Have as many as connections need, and what else the process opens: the usual soft limit is less."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
