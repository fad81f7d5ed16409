"""One connection of gRPC: grpclib's, with what strangers may send bounded in size, number and time.

grpclib bounds what has not been read (by HTTP/2's windows), the streams of a connection (100) and their headers
(64 KiB), and nothing else. Of the connections that a server takes, one client gets half, as in `broker.connection`.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import BaseTransport, Transport
from collections.abc import Callable
from typing import Any, cast

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream
from h2.events import DataReceived
from h2.exceptions import ProtocolError

from confide.broker.connection import MAX_CONNECTIONS, MAX_OF_ONE_CLIENT, one_client
from confide.serving.admission import Admission

IDLE_S = 300.0
"""A connection without a call ends after that; clients open another when they have one."""
RECEIVE_S = 30.0
"""A message has to be there within that."""
SEND_S = 30.0
"""And a reply taken; until then it is kept."""
MAX_UNREAD_BYTES = 4 * 1024 * 1024
"""What may wait for a client that does not read."""
MAX_FRAME_BYTES = 9 + 16 * 1024
MAX_HEAD_BYTES = 64 * 1024
"""h2 looks at the length of a frame, and of a call's head, only when all of it is there: so it is looked at here."""
MAX_EMPTY = 100
"""Frames of a connection that hold no data and end nothing: no window counts them, and they are kept until read."""
MAX_RESETS = 1000
"""Calls of one connection that its client may give up, besides every second."""


class BoundedConnection(H2Protocol):
    """grpclib's protocol for one connection; what goes beyond a bound ends it."""

    _of = ""
    _last = 0.0
    _idle: asyncio.TimerHandle | None = None
    _empty = 0

    def __init__(self, others: set[BoundedConnection], *arguments: Any) -> None:
        super().__init__(*arguments)
        self._others, self._loop = others, asyncio.get_running_loop()

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self._transport = cast(Transport, transport)
        self._of = _client(self._transport)
        self._others.add(self)
        self._last = self._loop.time()
        self._idle = self._loop.call_later(IDLE_S, self._end_if_idle)
        of_one = sum(other._of == self._of for other in self._others)
        if len(self._others) > MAX_CONNECTIONS or of_one > MAX_OF_ONE_CLIENT:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._last = self._loop.time()
        if self._transport.is_closing():
            return
        try:
            self._take(data)
        except Exception:  # noqa: BLE001 - no traceback may leave with values of a request in it
            self._transport.abort()
        counts = self.connection
        if (
            counts.streams_failed > MAX_RESETS + counts.streams_started // 2
            or self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES
        ):
            self._transport.abort()

    def _take(self, data: bytes) -> None:
        """Do as grpclib does, but leave alone frames that are not known, as HTTP/2 demands."""
        events = self.connection.feed(data)
        held = self.connection._connection.incoming_buffer
        waiting = sum(len(frame.data) for frame in held._headers_buffer)
        if len(held._data) > MAX_FRAME_BYTES or waiting > MAX_HEAD_BYTES:
            raise ProtocolError("a frame or head that is too long")
        self._empty += sum(
            isinstance(event, DataReceived) and not event.data and event.stream_ended is None
            for event in events
        )
        if self._empty > MAX_EMPTY:
            raise ProtocolError("frames without data")
        self.connection.flush()
        for event in events:
            with contextlib.suppress(NotImplementedError):
                self.processor.process(event)
        self.connection.flush()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._others.discard(self)
        if self._idle is not None:
            self._idle.cancel()
        super().connection_lost(exc)

    def close(self) -> None:
        """End it now."""
        self._transport.abort()

    def _end_if_idle(self) -> None:
        left_s = self._last + IDLE_S - self._loop.time()
        if left_s <= 0 and not self.processor.streams:
            self._transport.close()
            return
        self._idle = self._loop.call_later(max(left_s, 1.0), self._end_if_idle)


class BoundedServer(Server):
    """grpclib's server, with such connections."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._connections: set[BoundedConnection] = set()

    def _protocol_factory(self) -> H2Protocol:
        made = super()._protocol_factory()
        return BoundedConnection(self._connections, made.handler, made.config, made.h2_config)

    def close(self) -> None:
        """Take no more connections, and end those that are there."""
        super().close()
        for connection in tuple(self._connections):
            connection.close()


class BoundedMessages:
    """What grpclib reads the messages of one call from: bounded in size before they are read, and in time.

    Args:
        stream: HTTP/2's.
        admission: says how large a message may be.
        count: counts the bytes of the call.
    """

    def __init__(self, stream: Any, admission: Admission, count: Callable[[int], None]) -> None:
        self._stream, self._admission, self._count = stream, admission, count
        self._prefix = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def recv_data(self, size: int) -> bytes:
        """Return the next bytes: in turns the five before a message, and the message.

        Raises:
            TooLarge, Overloaded: before they are read.
            GRPCError: compressed, cut off, or not there in time.
        """
        prefix, self._prefix = self._prefix, not self._prefix
        if not prefix:
            self._admission.check_size(size)
            self._count(size)
        data = await self._read(size)
        if prefix and data[:1] not in (b"", b"\0"):
            raise GRPCError(Status.UNIMPLEMENTED, "compressed requests are not taken")
        return data

    async def _read(self, size: int) -> bytes:
        try:
            async with asyncio.timeout(RECEIVE_S):
                data: bytes = await self._stream.recv_data(size)
        except AssertionError:
            raise GRPCError(Status.INVALID_ARGUMENT, "the request was cut off") from None
        except TimeoutError:
            raise GRPCError(Status.DEADLINE_EXCEEDED, "the request did not arrive in time") from None
        return data


async def send(call: Stream[Any, Any], message: Any) -> None:
    """Send a message of a call to a client that takes it in time.

    Raises:
        GRPCError: it does not.
    """
    try:
        async with asyncio.timeout(SEND_S):
            await call.send_message(message)
    except TimeoutError:
        raise GRPCError(Status.DEADLINE_EXCEEDED, "the reply was not taken in time") from None


def bound_messages(call: Stream[Any, Any], admission: Admission, count: Callable[[int], None]) -> None:
    """Let a call read its messages through `BoundedMessages`: grpclib has no limit of its own, and no place for one."""
    call._stream = cast(Any, BoundedMessages(call._stream, admission, count))


def client_of(call: Stream[Any, Any]) -> str:
    """Return whose call it is, as limits count clients."""
    return _client(call.peer)


def _client(of: Any) -> str:
    address = of.addr() if hasattr(of, "addr") else of.get_extra_info("peername")
    return one_client(address[0]) if address else ""
