"""Requests with an id are answered once: the same one again gets the same answer, and no second run.

Bounded in number, bytes and time; what was forgotten is run again if it comes again.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from confide.serving.failures import Duplicate

_Answer = TypeVar("_Answer")


@dataclass(eq=False, slots=True)
class _Entry(Generic[_Answer]):
    digest: bytes
    expires: float
    size: int = 0
    answer: _Answer | None = None
    waits: asyncio.Future[_Answer] | None = None
    """Of who asks while the work is under way."""


class Once(Generic[_Answer]):
    """Answers by id.

    Args:
        size: of an answer, bytes.
        max_entries: answers that are kept.
        max_bytes: of them together.
        clock: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        size: Callable[[_Answer], int],
        max_entries: int = 65_536,
        max_bytes: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._size, self._max_entries, self._max_bytes, self._clock = size, max_entries, max_bytes, clock
        self._entries: OrderedDict[bytes, _Entry[_Answer]] = OrderedDict()
        self._bytes = 0

    async def answer(
        self, key: bytes, digest: bytes, keep_s: float, work: Callable[[], Awaitable[_Answer]]
    ) -> _Answer:
        """Return the answer under `key`: of work that is under way or done, or else of `work`, done now.

        An answer that is an exception is told to all who wait for it, and forgotten.

        Args:
            key: what identifies the request.
            digest: of the whole request.
            keep_s: how long the answer is kept.
            work: makes it.

        Raises:
            Duplicate: another request has this key.
        """
        self._forget()
        known = self._entries.get(key)
        if known is not None:
            if not hmac.compare_digest(known.digest, digest):
                raise Duplicate("another request has this id")
            if known.answer is not None:
                return known.answer
            if known.waits is None:
                known.waits = asyncio.get_running_loop().create_future()
            return await asyncio.shield(known.waits)
        entry: _Entry[_Answer] = _Entry(digest, self._clock() + keep_s)
        self._entries[key] = entry
        try:
            answer = await work()
        except BaseException as error:
            if self._entries.get(key) is entry:
                del self._entries[key]
            if entry.waits is not None and isinstance(error, Exception):
                entry.waits.set_exception(error)
                entry.waits.exception()  # it may be that nobody waits
            elif entry.waits is not None:
                entry.waits.cancel()
            raise
        entry.answer = answer
        if entry.waits is not None:
            entry.waits.set_result(answer)
            entry.waits = None
        if self._entries.get(key) is entry:
            entry.size = self._size(answer)
            self._bytes += entry.size
        return answer

    def _forget(self) -> None:
        now = self._clock()
        while self._entries:
            entry = next(iter(self._entries.values()))
            full = len(self._entries) >= self._max_entries or self._bytes > self._max_bytes
            if not full and entry.expires > now:
                return
            self._entries.popitem(last=False)
            self._bytes -= entry.size
