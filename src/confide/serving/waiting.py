"""What waits at a front end: requests on their way into the queue, and those whose answers are awaited.

What becomes known of a request is read from the queue's own record of it. That a message says there is an answer saves
waiting; who misses it, as Redis or this process was cut off, finds the answer with the next look.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from confide.errors import ConfideError
from confide.serving.failures import Duplicate, Expired, Unreachable
from confide.serving.queue_entries import Answered, Asked
from confide.serving.redis_queue import ANSWERED, RedisQueue
from confide.serving.sealed import MAX_AHEAD_MS

MOST_AT_ONCE, MOST_BYTES = 256, 4 * 1024 * 1024
LOOK_S = 1.0
GIVE_UP_S = 10.0
"""So long a request is tried to be put into a queue that does not answer, before its client is told so."""
_PAUSE_S = 0.2


@dataclass(eq=False)
class _Wait:
    asked: Asked
    answer: asyncio.Future[Answered]
    since: float = field(default_factory=time.monotonic)
    put_in: bool = False
    clients: int = 0


class Waiting:
    """Puts requests into a queue and waits for their answers; on one event loop.

    Args:
        redis: holds the queue.
        queue: what they are put into.

    Attributes:
        ready: whether a worker was, when the queue was last looked at: each second, whoever asks how often.
        length: how many requests were in the queue then.
    """

    def __init__(self, redis: Redis, queue: RedisQueue) -> None:
        self._redis, self._queue = redis, queue
        self._waits: dict[bytes, _Wait] = {}
        self._new: dict[_Wait, None] = {}
        self._any, self._room = asyncio.Event(), True
        self.ready, self.length = False, 0

    def __len__(self) -> int:
        return len(self._waits)

    async def run(self) -> None:
        """Do the work, until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for each in (self._put_in, self._listen, self._look_again):
                tasks.create_task(each())

    async def answer(self, asked: Asked) -> Answered:
        """Return the answer to a request.

        Raises:
            Overloaded: as many wait as may. Duplicate: another request has this id.
            Unreachable: the queue does not answer: whether the request is in it is not known.
            Expired: there is no answer after as long as any request may take.
        """
        wait = self._waits.get(asked.id)
        if wait is None:
            wait = self._waits[asked.id] = _Wait(asked, asyncio.get_running_loop().create_future())
            self._put(wait)
        elif wait.asked.digest != asked.digest:
            raise Duplicate("another request has this id")
        wait.clients += 1
        try:
            async with asyncio.timeout(MAX_AHEAD_MS / 1000):
                return await asyncio.shield(wait.answer)
        except TimeoutError:
            raise Expired("no worker answered in the time that a request may take") from None
        finally:
            wait.clients -= 1
            if not wait.clients and self._waits.get(asked.id) is wait:
                del self._waits[asked.id]  # whoever asks again finds the answer in the queue
                self._new.pop(wait, None)  # nobody counts its bytes any more

    def _put(self, wait: _Wait) -> None:
        wait.put_in = False
        self._new[wait] = None
        self._any.set()

    async def _put_in(self) -> None:
        while True:
            await self._any.wait()
            some = self._some()
            if not self._new:
                self._any.clear()
            if not some:
                continue
            try:
                found = await self._queue.submit([wait.asked for wait in some], room=self._room)
            except (RedisError, OSError) as error:
                self._not_put_in(some, error)
                await asyncio.sleep(_PAUSE_S)
                continue
            for wait, answer in zip(some, found, strict=True):
                wait.put_in = True
                if isinstance(answer, ConfideError):
                    self._fail(wait, answer)
                elif answer is not None:
                    self._done(wait, answer)

    def _some(self) -> list[_Wait]:
        """Take what is new: as much as goes at once."""
        some: list[_Wait] = []
        size = 0
        for wait in self._new:
            size += len(wait.asked.body)
            if len(some) == MOST_AT_ONCE or (some and size > MOST_BYTES):
                break
            some.append(wait)
        for wait in some:
            del self._new[wait]
        return [wait for wait in some if not wait.answer.done()]

    def _not_put_in(self, some: Iterable[_Wait], error: Exception) -> None:
        now = time.monotonic()
        for wait in some:
            if not wait.clients:
                continue
            if now - wait.since > GIVE_UP_S:
                self._fail(wait, Unreachable(f"the queue: {type(error).__name__}"))
            else:
                self._put(wait)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as told:
                    await told.subscribe(ANSWERED)
                    while True:
                        await self._read(await _messages(told))
            except (RedisError, OSError):
                await asyncio.sleep(_PAUSE_S)

    async def _look_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            before = time.monotonic() - LOOK_S
            old = [name for name, wait in self._waits.items() if wait.put_in and wait.since < before]
            try:
                self._room = await self._queue.has_room()
                self.ready, self.length = await self._queue.ready(), await self._queue.length()
            except (RedisError, OSError):
                self._room = self.ready = False
                continue
            with contextlib.suppress(RedisError, OSError):
                for place in range(0, len(old), MOST_AT_ONCE):
                    for name in await self._read(old[place : place + MOST_AT_ONCE]):
                        if (wait := self._waits.get(name)) is not None:
                            self._put(wait)  # the queue has lost it, and takes it again

    async def _read(self, names: list[bytes]) -> list[bytes]:
        """Take the answers of those of these requests that are awaited here; return what the queue does not know."""
        mine = [name for name in names if name in self._waits]
        if not mine:
            return []
        answers, unknown = await self._queue.look(mine)
        for name, answer in answers.items():
            if (wait := self._waits.get(name)) is not None:
                self._done(wait, answer)
        return unknown

    @staticmethod
    def _done(wait: _Wait, answer: Answered) -> None:
        if not wait.answer.done():
            wait.answer.set_result(answer)

    @staticmethod
    def _fail(wait: _Wait, error: Exception) -> None:
        if not wait.answer.done():
            wait.answer.set_exception(error)
            wait.answer.exception()  # it may be that nobody waits any more


async def _messages(told: PubSub) -> list[bytes]:
    """Return what all messages say that have come by now; wait for the first."""
    found: list[bytes] = []
    message = await told.get_message(timeout=LOOK_S)
    while message is not None and len(found) < MOST_AT_ONCE:
        found.append(message["data"])
        message = await told.get_message(timeout=0)
    if message is not None:
        found.append(message["data"])
    return found
