"""One connection of gRPC: grpclib's, with what strangers may send bounded in size, number and time.

grpclib bounds what has not been read (by HTTP/2's windows), the streams of a connection (100) and their headers
(64 KiB), and nothing else. Connections are counted by their acceptor, as those of REST are.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from asyncio import BaseTransport, Transport
from typing import Any, cast

from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream
from h2.events import DataReceived
from h2.exceptions import ProtocolError
from h2.utilities import SizeLimitDict

from confide.broker.acceptor import Accepted, Acceptor, one_client
from confide.serving.admission import Account, Admission

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
MAX_CLOSED = 1000
"""Calls that are over and whose number is remembered; h2's own bound is 65,536, which are 11 MB of each connection."""
PIECE_BYTES = 16 * 1024
"""So much is taken from a connection before its bounds are held against it."""
CALL_BYTES = 1024
"""What a client may send besides the messages of a call; as much more counts as a request, as a call of no method."""
FREE_BYTES = 16 * 1024
"""What it may send besides messages before its first call is over."""


class BoundedConnection(Accepted, H2Protocol):
    """grpclib's protocol for one connection; what goes beyond a bound ends it."""

    _of = ""
    _last = 0.0
    _idle: asyncio.TimerHandle | None = None
    _empty = 0
    _known = _strange = 0
    _owed = -FREE_BYTES

    def __init__(self, others: set[BoundedConnection], admission: Admission, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._others, self._admission, self._loop = others, admission, asyncio.get_running_loop()

    def connection_made(self, transport: BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        self._transport = cast(Transport, transport)
        self.connection._connection._closed_streams = SizeLimitDict(size_limit=MAX_CLOSED)
        cast(Any, self.connection).answered = self._answered
        self._of = _client(self._transport)
        self._others.add(self)
        self._last = self._loop.time()
        self._idle = self._loop.call_later(IDLE_S, self._end_if_idle)

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        self._last = self._loop.time()
        for place in range(0, len(data), PIECE_BYTES):
            if self._transport.is_closing():
                return
            try:
                self._take(data[place : place + PIECE_BYTES])
            except Exception:  # noqa: BLE001 - no traceback may leave with values of a request in it
                self._transport.abort()
            counts = self.connection
            if (
                counts.streams_failed > MAX_RESETS + counts.streams_started // 2
                or self._transport.get_write_buffer_size() > MAX_UNREAD_BYTES
            ):
                self._transport.abort()

    def _answered(self) -> None:
        """Count a call of a method that there is, when it has been answered: its client's account has it."""
        self._known += 1
        self._owed = max(self._owed - CALL_BYTES, -FREE_BYTES)

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
        messages = sum(
            len(event.data)
            for event in events
            if isinstance(event, DataReceived) and event.stream_id in self.processor.streams
        )
        self._charge(len(data) - messages)
        self.connection.flush()
        for event in events:
            with contextlib.suppress(NotImplementedError):
                self.processor.process(event)
        self.connection.flush()

    def _charge(self, size: int) -> None:
        """Count, against the account of the client, bytes that are of no message, and calls that grpclib refused.

        Raises:
            Overloaded: it does more than it may.
        """
        ended = self.connection.streams_started - len(self.processor.streams)
        strange = max(self._strange, ended - self._known)
        self._owed += size + (strange - self._strange) * CALL_BYTES
        self._strange = strange
        while self._owed > 0:
            self._admission.take(self._of)
            self._owed -= CALL_BYTES

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
    """grpclib's server, with such connections.

    Args:
        admission: has the accounts of clients.
    """

    def __init__(self, admission: Admission, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._admission = admission
        self._connections: set[BoundedConnection] = set()

    def serve(self, listener: socket.socket, tls: ssl.SSLContext) -> None:
        """Serve on a bound socket."""
        self._acceptor = Acceptor(listener, self._protocol_factory, tls)

    def _protocol_factory(self) -> BoundedConnection:
        made = super()._protocol_factory()
        return BoundedConnection(
            self._connections, self._admission, made.handler, made.config, made.h2_config
        )

    def close(self) -> None:
        """Take no more connections, and end those that are there, with their calls."""
        self._acceptor.close()
        for connection in tuple(self._connections):
            connection.close()


class BoundedMessages:
    """What grpclib reads the messages of one call from: bounded in size before they are read, in number and in time.

    Args:
        stream: HTTP/2's.
        admission: says how large a message may be, and how many a client may send.
        client: whose account has all but the first, which is the call.
        account: counts the bytes of the call.

    Attributes:
        account: as it was given.
    """

    def __init__(self, stream: Any, admission: Admission, client: str, account: Account) -> None:
        self._stream, self._admission, self._client, self.account = stream, admission, client, account
        self._prefix, self._messages = True, 0

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
            self.account.add(size)
            self._messages += 1
            if self._messages > 1:
                self._admission.take(self._client)
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


def bound_messages(call: Stream[Any, Any], admission: Admission, client: str, account: Account) -> None:
    """Let a call read its messages through `BoundedMessages`: grpclib has no limit of its own, and no place for one."""
    call._stream = cast(Any, BoundedMessages(call._stream, admission, client, account))


def account_of(call: Stream[Any, Any]) -> Account:
    """Return what counts the bytes of a call."""
    return cast(Any, call._stream).account  # type: ignore[no-any-return]


def answered(call: Stream[Any, Any]) -> None:
    """Tell the connection of a call that it was one of a method that there is, and has been answered."""
    call._stream.connection.answered()  # type: ignore[attr-defined]


def client_of(call: Stream[Any, Any]) -> str:
    """Return whose call it is, as limits count clients."""
    return _client(call.peer)


def _client(of: Any) -> str:
    address = of.addr() if hasattr(of, "addr") else of.get_extra_info("peername")
    return one_client(address[0]) if address else ""
