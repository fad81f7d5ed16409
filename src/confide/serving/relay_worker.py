"""A relay's way to its worker: batches of requests over HTTPS, whose answers come one by one."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import AsyncGenerator, Iterable
from typing import Self

import aiohttp

from confide.serving.client_transport import ask_introduction, client_tls
from confide.serving.failures import InvalidRequest, Overloaded
from confide.serving.frames import BATCH_PATH, BATCH_TYPE, Frame, FrameReader
from confide.serving.identity import PATH
from confide.serving.sealed import ERROR_HEADER

START_S = 30.0
ANSWER_S = 660.0
"""Longer than any request may take."""
KEEP_S = 10.0
"""Shorter than the worker keeps a connection without requests: it does not end one that is just used again."""


class WorkerGone(Exception):
    """The worker does not answer.

    Attributes:
        had: whether it had the requests.
    """

    def __init__(self, *, had: bool) -> None:
        super().__init__("the worker does not answer")
        self.had = had


class BatchRefused(Exception):
    """The worker does not take a batch.

    Attributes:
        status: of HTTP.
        name: of the error.
    """

    def __init__(self, status: int, name: str) -> None:
        super().__init__(f"the worker does not take a batch: {status} {name}")
        self.status, self.name = status, name


async def found_worker(url: str) -> BatchWorker:
    """Return the worker at an address.

    Raises:
        Unreachable, AttestationRefused: there is none.
    """
    introduction = await asyncio.to_thread(ask_introduction, f"{url}{PATH}", None, START_S)
    # Whoever it is: sealed requests can be read by workers of the pool alone.
    return BatchWorker(url, client_tls(introduction.authority.encode()))


class BatchWorker:
    """A worker.

    Args:
        url: of it.
        tls: trusts its authority.
    """

    def __init__(self, url: str, tls: ssl.SSLContext) -> None:
        self._url, self._tls = url, tls

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            self._url,
            connector=aiohttp.TCPConnector(ssl=self._tls, keepalive_timeout=KEEP_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=START_S, sock_read=ANSWER_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def answers(self, batch: Iterable[Frame]) -> AsyncGenerator[Frame, None]:
        """Yield the answers to a batch, as they come.

        Raises:
            WorkerGone: it is not there, has too much to do, or ended meanwhile.
            BatchRefused: it does not take this batch.
        """
        reader, body = FrameReader(), io.BytesIO(b"".join(frame.encode() for frame in batch))
        asked = self._http.post(
            BATCH_PATH, data=body, headers={"content-type": BATCH_TYPE}, allow_redirects=False
        )
        try:
            async with asked as response:
                if response.status != 200:
                    if response.status == Overloaded.http_status or not 400 <= response.status < 500:
                        raise WorkerGone(had=False)
                    raise BatchRefused(response.status, response.headers.get(ERROR_HEADER, ""))
                async for data in response.content.iter_any():
                    for frame in reader.feed(data):
                        yield frame
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise WorkerGone(had=False) from None
        except (aiohttp.ClientError, TimeoutError, InvalidRequest):
            raise WorkerGone(had=True) from None

    async def is_ready(self, timeout_s: float) -> bool:
        """Return whether it says within that time that it is ready."""
        limit = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with self._http.get("/v2/health/ready", timeout=limit, allow_redirects=False) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False
