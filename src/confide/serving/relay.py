"""The relay between a queue and one worker: takes requests out, has the worker answer, puts the answers down.

It runs beside the worker's enclave and not in it: what it carries is sealed, so it is trusted with nothing, and the
enclave has no way to the queue. It takes requests only as long as its worker answers; what the worker had when it ended
is left to the next one, and what was there when several ended is tried alone, and then given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

import httpx
from redis.exceptions import RedisError, ResponseError

from confide.serving.client_transport import ask_introduction, client_tls
from confide.serving.failures import Abandoned, InvalidRequest, Overloaded
from confide.serving.frames import BATCH_PATH, BATCH_TYPE, MAX_HEAD_BYTES, AnswerHead, Frame, FrameReader
from confide.serving.identity import PATH
from confide.serving.redis_link import RedisLink
from confide.serving.redis_queue import MAX_DELIVERIES, Answered, Entry, RedisQueue
from confide.serving.sealed import ERROR_HEADER

LANES = 2
"""Batches that the worker has at once: while it answers one, the next one gathers."""
BATCH_REQUESTS, BATCH_BYTES = 64, 1024 * 1024
TOGETHER = 2
"""So often a request is delivered beside others, before it is tried alone."""
WAIT_MS = 1_000
IDLE_S = 15.0
"""After which requests are taken over whose relay gives no sign of life."""
START_S = 30.0
ANSWER_S = 660.0
"""Longer than any request may take."""
_PAUSE_S = 0.2
_FORGET_MS = 600_000

_Given = TypeVar("_Given")


class WorkerGone(Exception):
    """The worker does not answer.

    Attributes:
        had: whether it had the requests.
    """

    def __init__(self, *, had: bool) -> None:
        super().__init__("the worker does not answer")
        self.had = had


class Relay:
    """The relay of one worker.

    Args:
        url: of the worker.
        link: to the queue.
        idle_s: after which requests of other relays are taken over.
    """

    def __init__(self, url: str, link: RedisLink, idle_s: float = IDLE_S) -> None:
        self._url, self._link, self._idle_s = url, link, idle_s
        self._held: dict[bytes, Entry] = {}
        self._answers: list[tuple[Entry, Answered]] = []
        self._any, self._written = asyncio.Event(), asyncio.Event()
        self._stopping = asyncio.Event()
        self._up = asyncio.Event()
        self._lanes = asyncio.Semaphore(LANES)

    def stop(self) -> None:
        """Take no more requests; answer those that were taken."""
        self._stopping.set()

    async def run(self) -> None:
        """Relay, until it is told to stop.

        Raises:
            Unreachable, AttestationRefused: there is no worker.
            Misuse: the link's authority is no certificate.
        """
        introduction = await asyncio.to_thread(ask_introduction, f"{self._url}{PATH}", None, START_S)
        # Whoever it is: sealed requests can be read by workers of the pool alone.
        tls = client_tls(introduction.authority.encode())
        consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        redis = self._link.connect()
        self._queue = RedisQueue(redis, consumer)
        with contextlib.suppress(RedisError, OSError):  # whatever is amiss shows again
            await self._queue.create()
            await self._queue.forget_consumers(_FORGET_MS)
        async with redis, _worker(self._url, tls) as self._worker, asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(each()) for each in (self._watch, self._hold, self._write)]
            async with asyncio.TaskGroup() as lanes:
                for lane in (*[self._lane] * LANES, self._take_over):
                    lanes.create_task(lane())
            while self._held:
                self._written.clear()
                await self._written.wait()
            for task in beside:
                task.cancel()

    async def _lane(self) -> None:
        """Take requests that nobody has had yet."""
        most = BATCH_REQUESTS
        while await self._going():
            try:
                entries = await self._queue.take(most, WAIT_MS)
            except (RedisError, OSError) as error:
                await self._lost_queue(error)
                continue
            self._held.update((entry.entry, entry) for entry in entries)
            largest = max((len(entry.body) for entry in entries), default=0)
            most = max(1, min(BATCH_REQUESTS, 16 * BATCH_BYTES // max(1, largest)))
            for batch in _batches(entries):
                async with self._lanes:
                    await self._answer(batch)

    async def _take_over(self) -> None:
        """Take requests over that others have had; those over which several workers ended, with nothing beside them."""
        while await self._going():
            try:
                entries = await self._queue.take_over(int(self._idle_s * 1000), BATCH_REQUESTS)
            except (RedisError, OSError) as error:
                await self._lost_queue(error)
                continue
            entries = [
                entry for entry in entries if entry.entry not in self._held
            ]  # else its own, unheard for long
            self._held.update((entry.entry, entry) for entry in entries)
            for batch in _batches([entry for entry in entries if entry.deliveries <= TOGETHER]):
                async with self._lanes:
                    await self._answer(batch)
            suspects = [entry for entry in entries if entry.deliveries > TOGETHER]
            if suspects:
                async with contextlib.AsyncExitStack() as all_lanes:
                    for _ in range(LANES):
                        await all_lanes.enter_async_context(self._lanes)
                    for entry in suspects:
                        await self._answer([entry])
            if not entries:
                await self._pause(self._idle_s / 4)

    async def _answer(self, batch: Sequence[Entry]) -> None:
        """Have a batch answered, or leave it to others."""
        waiting = dict(enumerate(batch))
        try:
            for number, entry in enumerate(batch):
                if not entry.is_request:
                    await self._insist(self._queue.discard, waiting.pop(number))
                    self._held.pop(entry.entry, None)
                elif entry.deliveries > MAX_DELIVERIES:
                    self._put_down(waiting.pop(number), _abandoned())
            if waiting:
                await self._post(waiting)
        except WorkerGone as gone:
            self._up.clear()
            with contextlib.suppress(
                RedisError, OSError
            ):  # then they are taken over when they have been idle
                await self._queue.release(waiting.values(), int(self._idle_s * 1000), blamed=gone.had)
            for entry in waiting.values():
                self._held.pop(entry.entry, None)

    async def _post(self, waiting: dict[int, Entry]) -> None:
        """Have the worker answer, and put each answer down when it is there; what has none stays in `waiting`.

        Raises:
            WorkerGone: not all were answered.
        """
        if not self._up.is_set():
            raise WorkerGone(had=False)
        reader = FrameReader()
        body = b"".join(_frame(number, entry).encode() for number, entry in waiting.items())
        asked = self._worker.stream("POST", BATCH_PATH, content=body, headers={"content-type": BATCH_TYPE})
        try:
            async with asked as response:
                if response.status_code != 200:
                    await self._refused(waiting, response)
                    return
                async for data in response.aiter_raw():
                    for frame in reader.feed(data):
                        if frame.number in waiting:
                            self._put_down(waiting.pop(frame.number), Answered(frame.head, frame.body))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
            raise WorkerGone(had=False) from None
        except (httpx.HTTPError, InvalidRequest):
            raise WorkerGone(had=True) from None
        if waiting:
            raise WorkerGone(had=True)

    async def _refused(self, waiting: dict[int, Entry], response: httpx.Response) -> None:
        """Deal with a batch that is not taken: it may be one request's fault, or there is too much to do."""
        status = response.status_code
        if status == Overloaded.http_status or not 400 <= status < 500:
            raise WorkerGone(had=False)
        if len(waiting) == 1:
            name = response.headers.get(ERROR_HEADER, "")
            answered = Answered(AnswerHead(status, {ERROR_HEADER: name}).encode(), b"")
            self._put_down(waiting.popitem()[1], answered)
            return
        for number in list(waiting):
            await self._post({number: waiting[number]})
            del waiting[number]

    def _put_down(self, entry: Entry, answered: Answered) -> None:
        self._answers.append((entry, answered))
        self._any.set()

    async def _write(self) -> None:
        """Put down what was answered, beside all else: the worker waits for nobody for long."""
        while True:
            await self._any.wait()
            self._any.clear()
            some, self._answers = self._answers, []
            if some:
                await self._insist(self._queue.answer, some)
            for entry, _ in some:
                self._held.pop(entry.entry, None)
            self._written.set()

    async def _insist(self, done: Callable[[_Given], Awaitable[None]], given: _Given) -> None:
        """Do something to the queue that may be done twice, until it is done: an answer is not made again for that."""
        while True:
            try:
                await done(given)
            except (RedisError, OSError):
                await asyncio.sleep(_PAUSE_S)
            else:
                return

    async def _watch(self) -> None:
        """Look whether the worker is ready, and say so."""
        while True:
            try:
                answer = await self._worker.get("/v2/health/ready", timeout=self._idle_s)
                ready = answer.status_code == 200
            except httpx.HTTPError:
                ready = False
            if ready:
                self._up.set()
                with contextlib.suppress(RedisError, OSError):
                    await self._queue.tell_ready()
            else:
                self._up.clear()
            await asyncio.sleep(1.0)

    async def _hold(self) -> None:
        while True:
            await asyncio.sleep(self._idle_s / 4)
            if self._up.is_set():  # what a worker has that hangs is for others
                with contextlib.suppress(RedisError, OSError):
                    await self._queue.hold(list(self._held.values()))

    async def _going(self) -> bool:
        """Wait until the worker answers; return whether to go on."""
        if self._up.is_set() or self._stopping.is_set():
            return not self._stopping.is_set()
        stopping = asyncio.ensure_future(self._stopping.wait())
        up = asyncio.ensure_future(self._up.wait())
        await asyncio.wait((stopping, up), return_when=asyncio.FIRST_COMPLETED)
        for each in (stopping, up):
            each.cancel()
        return not self._stopping.is_set()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _lost_queue(self, error: Exception) -> None:
        await self._pause(_PAUSE_S)
        if isinstance(error, ResponseError):  # a queue that was emptied has no group
            with contextlib.suppress(RedisError, OSError):
                await self._queue.create()


@contextlib.asynccontextmanager
async def _worker(url: str, tls: ssl.SSLContext) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=LANES + 2)
    async with httpx.AsyncClient(
        base_url=url, verify=tls, timeout=ANSWER_S, limits=limits, trust_env=False
    ) as client:
        yield client


def _batches(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return the entries in batches of a bounded size; what is larger goes alone."""
    batches: list[list[Entry]] = []
    size = 0
    for entry in entries:
        size += len(entry.body)
        if not batches or size > BATCH_BYTES:
            batches.append([])
            size = len(entry.body)
        batches[-1].append(entry)
    return batches


def _frame(number: int, entry: Entry) -> Frame:
    return Frame(number, entry.head if len(entry.head) <= MAX_HEAD_BYTES else b"", entry.body)


def _abandoned() -> Answered:
    return Answered(AnswerHead(Abandoned.http_status, {ERROR_HEADER: Abandoned.__name__}).encode(), b"")
