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
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from redis.exceptions import RedisError, ResponseError

from confide.serving.failures import Abandoned
from confide.serving.frames import MAX_HEAD_BYTES, AnswerHead, Frame
from confide.serving.queue_entries import Answered, Entry
from confide.serving.redis_link import RedisLink
from confide.serving.redis_queue import MAX_DELIVERIES, RedisQueue
from confide.serving.relay_worker import BatchRefused, WorkerGone, found_worker
from confide.serving.sealed import ERROR_HEADER

LANES = 2
"""Batches that the worker has at once: while it answers one, the next one gathers."""
BATCH_REQUESTS, BATCH_BYTES = 64, 1024 * 1024
TOGETHER = 2
"""So often a request is delivered beside others, before it is tried alone."""
WAIT_MS = 1_000
IDLE_S = 15.0
"""After which requests are taken over whose relay gives no sign of life."""
_PAUSE_S = 0.2
_FORGET_MS = 600_000

_Given = TypeVar("_Given")


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
        self._stopping, self._over = asyncio.Event(), asyncio.Event()
        self._up = asyncio.Event()
        self._lanes, self._taking = asyncio.Semaphore(LANES), asyncio.Lock()

    def stop(self) -> None:
        """Take no more requests; answer those that were taken."""
        self._stopping.set()

    async def run(self) -> None:
        """Relay, until it is told to stop.

        Raises:
            Unreachable, AttestationRefused: there is no worker.
            Misuse: the link's authority is no certificate.
        """
        consumer = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        redis = self._link.connect()
        self._queue = RedisQueue(redis, consumer)
        with contextlib.suppress(RedisError, OSError):  # whatever is amiss shows again
            await self._queue.create()
            await self._queue.forget_consumers(_FORGET_MS)
        async with redis, await found_worker(self._url) as self._worker, asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write())
            for beside in (self._watch, self._hold):
                tasks.create_task(beside())
            async with asyncio.TaskGroup() as lanes:
                for lane in (*[self._lane] * LANES, self._take_over):
                    lanes.create_task(lane())
            while self._held:
                self._written.clear()
                await self._written.wait()
            self._over.set()  # a call to the worker that is cancelled just when its time is over goes on
            writing.cancel()

    async def _lane(self) -> None:
        """Take requests that nobody has had yet."""
        while True:
            try:
                async with self._taking:  # two that wait at once would share what comes together
                    if not await self._going():
                        return
                    entries = await self._queue.take(BATCH_REQUESTS, WAIT_MS)
            except (RedisError, OSError) as error:
                await self._lost_queue(error)
                continue
            self._held.update((entry.entry, entry) for entry in entries)
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
                await _pause(self._stopping, self._idle_s / 4)

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
            if waiting and self._up.is_set():
                again = [entry for entry in waiting.values() if entry.deliveries > 1]
                await self._insist(self._queue.count, again)
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
        asked = self._worker.answers([_frame(*each) for each in waiting.items()])
        try:
            async with contextlib.aclosing(asked) as answers:
                async for frame in answers:
                    if frame.number in waiting:
                        self._put_down(waiting.pop(frame.number), Answered(frame.head, frame.body))
        except BatchRefused as refused:  # it may be one request's fault
            if len(waiting) == 1:
                head = AnswerHead(refused.status, {ERROR_HEADER: refused.name}).encode()
                self._put_down(waiting.popitem()[1], Answered(head, b""))
                return
            for number in list(waiting):
                await self._post({number: waiting[number]})
                del waiting[number]
        if waiting:
            raise WorkerGone(had=True)

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
        while not self._over.is_set():
            if await self._worker.is_ready(self._idle_s):
                self._up.set()
                with contextlib.suppress(RedisError, OSError):
                    await self._queue.tell_ready()
            else:
                self._up.clear()
            await _pause(self._over, 1.0)

    async def _hold(self) -> None:
        while not self._over.is_set():
            await _pause(self._over, self._idle_s / 4)
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

    async def _lost_queue(self, error: Exception) -> None:
        await _pause(self._stopping, _PAUSE_S)
        if isinstance(error, ResponseError):  # a queue that was emptied has no group
            with contextlib.suppress(RedisError, OSError):
                await self._queue.create()


async def _pause(ends: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until that happens."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ends.wait(), seconds)


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
