"""One HTTP connection, fed as a socket may feed it."""

from __future__ import annotations

import asyncio

import pytest
import uvicorn
from uvicorn.server import ServerState

from confide.broker.connection import MAX_HEAD_BYTES, BoundedHttp

HEAD = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self):
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written, self.closed = b"", False

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    abort = close

    def pause_reading(self):
        pass

    resume_reading = pause_reading


async def application(scope, receive, send):
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"took %d" % size})


def said(*pieces):
    async def run():
        config = uvicorn.Config(application, http=BoundedHttp, lifespan="off", log_config=None)
        config.load()
        transport = Transport()
        connection = BoundedHttp(config=config, server_state=ServerState(), app_state={})
        connection.connection_made(transport)
        for piece in pieces:
            connection.data_received(piece)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        connection.connection_lost(None)
        return transport.written

    return asyncio.run(run())


@pytest.mark.parametrize("size", [0, 1, MAX_HEAD_BYTES, 4 * MAX_HEAD_BYTES])
def test_a_body_that_comes_at_once_is_no_head(size):
    request = HEAD % size + b"x" * size
    for pieces, answers in (
        ([request], 1),
        ([request, request], 2),
        ([request[:30], request[30:]], 1),
        ([request + request[:30], request[30:]], 2),
    ):
        written = said(*pieces)
        assert b"400" not in written
        assert written.count(b"took %d" % size) == answers


def test_a_head_that_does_not_end_is_refused_after_a_large_body_too():
    request = HEAD % (4 * MAX_HEAD_BYTES) + b"x" * 4 * MAX_HEAD_BYTES
    endless = [b"GET / HTTP/1.1\r\nx: ", *[b"a" * 1024] * (MAX_HEAD_BYTES // 1024 + 1)]
    assert b"400" in said(*endless)
    assert b"400" in said(request, *endless)
    assert b"400" in said(request + endless[0], *endless[1:])
