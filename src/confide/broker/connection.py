"""One HTTP connection of the broker: uvicorn's, with what strangers may send bounded in size and time.

The parser (llhttp) sets no limits of its own: a request's head is at most 64 KiB, the whole request arrives
within 30 seconds, its body has a declared length, and its answer is taken, piece by piece. Of the connections that a
server takes (`acceptor.py`), one client gets half.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from confide.broker.acceptor import Accepted

MAX_HEAD_BYTES = 64 * 1024
REQUEST_TIMEOUT_S = 30.0


class BoundedHttp(Accepted, HttpToolsProtocol):
    """uvicorn's protocol for one connection; what goes beyond a bound ends it."""

    _deadline: asyncio.TimerHandle | None = None
    _in_head = True
    _completed = False
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin; the first request is awaited from here on."""
        super().connection_made(_Gathered(transport, self.loop))  # type: ignore[arg-type]
        self._start_clock()

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes of a request."""
        self._start_clock()
        self._completed = False
        super().data_received(data)
        # Also counts what makes up no whole header field yet; but not what was a request's body up to its end.
        if self._in_head and not self._completed:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
                self.send_400_response("Request head is too large.")

    def on_message_begin(self) -> None:
        """Await the rest of a request."""
        self._start_clock()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Refuse bodies whose length is not declared; they may also end in headers without bound."""
        self._in_head = False
        if any(name == b"transfer-encoding" for name, _ in self.headers):
            raise ValueError("body without a declared length")  # the parser makes it a 400
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the next request."""
        self._stop_clock()
        self._in_head, self._head_bytes, self._completed = True, 0, True
        super().on_message_complete()

    def _start_clock(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.abort)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _Gathered:
    """A transport that sends what is written in one go of the event loop as one: an answer's head and body."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pending: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._pending:
            self._loop.call_soon(self._flush)
        self._pending.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        data, self._pending = b"".join(self._pending), []
        if data:
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
