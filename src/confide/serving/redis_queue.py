"""Sealed requests that wait in a Redis Stream, and their answers, which lie there until they expire.

An entry is acknowledged in the same step that puts its answer down, and in no other. So what is in the stream is what
waits or is being answered, and its length is how much that is. Keys and fields: docs/formats/queue.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError

from confide.errors import ConfideError
from confide.serving.failures import Abandoned, Duplicate, InvalidRequest, Overloaded, Unreachable
from confide.serving.frames import AnswerHead
from confide.serving.queue_entries import Answered, Asked, Entry
from confide.serving.sealed import ERROR_HEADER, MAX_AHEAD_MS, MEDIA_TYPE

STREAM, GROUP, ANSWERED, READY = "confide:requests", "workers", "confide:answered", "confide:ready"
WAITING = "confide:waiting"
_REQUEST = b"confide:request:"
WAITS_MS = 2 * MAX_AHEAD_MS
"""So long it is known that a request waits: longer than anybody waits for its answer."""
KEPT_MS = MAX_AHEAD_MS
"""An answer lies there until the end of its request is over, however far ahead that was."""
RETRY_MS = 5_000
"""The same of what is no answer to keep: the request may come again."""
READY_MS = 10_000
ROOM = 0.8
"""So full a store may be for new requests; the rest is for answers."""
MAX_DELIVERIES = 5
"""So many workers may end with a request before it is given up."""
WAITING_BYTES = 1024 * 1024 * 1024
"""Of requests that may wait or be under way, whether their clients still wait or have gone."""
TAKEN_BYTES = 16 * 1024 * 1024
"""Of requests that are taken out at once; the last of them may be larger."""

TOGETHER_BYTES = 1024 * 1024
"""Of answers that are put down in one step, which nothing else in the store happens during."""

_SUBMIT = """
local known = redis.call('HMGET', KEYS[2], 'digest', 'head', 'body')
if known[1] then
  if known[1] ~= ARGV[1] then return {'other'} end
  if known[2] then return {'answered', known[2], known[3]} end
  return {'waits'}
end
local length, bytes, most = redis.call('XLEN', KEYS[1]), #ARGV[5] + #ARGV[6], tonumber(ARGV[7])
if length > 0 then bytes = bytes + (tonumber(redis.call('HMGET', KEYS[3], 'bytes')[1]) or 0) end
if length >= tonumber(ARGV[2]) or bytes > most then return {'full'} end
redis.call('HSET', KEYS[2], 'digest', ARGV[1])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('HSET', KEYS[3], 'bytes', bytes)
redis.call('XADD', KEYS[1], '*', 'id', ARGV[4], 'head', ARGV[5], 'body', ARGV[6])
return {'waits'}
"""
_REMOVE = """
local function remove(stream, waiting, group, entry, size)
  redis.call('XACK', stream, group, entry)
  if redis.call('XDEL', stream, entry) == 1 then
    local bytes = tonumber(redis.call('HMGET', waiting, 'bytes')[1]) or 0
    redis.call('HSET', waiting, 'bytes', math.max(0, bytes - tonumber(size)))
  end
end
"""
_DISCARD = _REMOVE + "remove(KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3])"
_ANSWER = (
    _REMOVE
    + """
for place = 3, #KEYS do
  local request, at = KEYS[place], 6 * place - 16
  local known = redis.pcall('HMGET', request, 'digest', 'head')
  if known.err and not string.find(known.err, 'WRONGTYPE', 1, true) then return known end
  if known[1] and not known[2] then
    redis.call('HSET', request, 'head', ARGV[at + 3], 'body', ARGV[at + 4])
    redis.call('PEXPIRE', request, ARGV[at + 5])
  end
  remove(KEYS[1], KEYS[2], ARGV[1], ARGV[at + 1], ARGV[at + 2])
  redis.call('PUBLISH', ARGV[2], ARGV[at + 6])
end
"""
)
"""The first answer stands; where nothing is known of the request any more, or what is there is no record of one, nobody
waits: no answer is put down again and again, with all that come after it. A script is one step, as a
transaction is, in the file that Redis reads at its start too."""

_SIZE = """
local function size(fields)
  local sum = 0
  for place = 2, #fields, 2 do sum = sum + #fields[place] end
  return sum
end
local found, left = {}, tonumber(ARGV[4])
"""
_TAKE = (
    _SIZE
    + """
while #found < tonumber(ARGV[3]) and left > 0 do
  local taken = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', 1, 'STREAMS', KEYS[1], '>')
  if not taken then break end
  local entry = taken[1][2][1]
  found[#found + 1] = {entry[1], entry[2], 0}
  left = left - size(entry[2])
end
return found
"""
)
_TAKE_OVER = (
    _SIZE
    + """
for _, each in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[5], '-', '+', ARGV[3])) do
  if left <= 0 then break end
  local claimed = redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[5], each[1], 'RETRYCOUNT', each[4])
  if claimed[1] then
    found[#found + 1] = {claimed[1][1], claimed[1][2], each[4]}
    left = left - size(claimed[1][2])
  end
end
return found
"""
)
"""One by one, so that no more is read than is wanted: how large an entry is shows when it is taken. Who takes over has
not tried yet, and may end before it does."""


class RedisQueue:
    """The queue, as front ends and relays use it.

    Args:
        redis: holds it.
        consumer: name of the relay in the group.
        max_waiting: requests that may wait or be under way.
        max_bytes: the same of the bytes that they have together.
    """

    def __init__(
        self,
        redis: Redis,
        consumer: str = "",
        max_waiting: int = 10_000,
        max_bytes: int = WAITING_BYTES,
    ) -> None:
        self._redis, self._consumer = redis, consumer
        self._max_waiting, self._max_bytes = max_waiting, max_bytes

    async def create(self) -> None:
        """Make stream and group, unless they are there."""
        try:
            await self._redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise

    async def submit(
        self, requests: Sequence[Asked], *, room: bool = True
    ) -> list[Answered | ConfideError | None]:
        """Put requests in, unless they are known: again and again has the effect of once.

        Args:
            requests: they.
            room: new ones may be put in.

        Returns:
            Of each its answer, where there is one; None: it waits. Overloaded: as many wait as may, or the store is
            full. Duplicate: another request has its id.

        Raises:
            RedisError, OSError: it is not known whether they were put in.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            for each in requests:
                most = self._max_waiting if room else 0
                said = (each.digest, most, WAITS_MS, each.id, each.head, each.body, self._max_bytes)
                pipe.eval(_SUBMIT, 3, STREAM, _REQUEST + each.id, WAITING, *said)
            return [self._submitted(found) for found in await pipe.execute(raise_on_error=False)]

    def _submitted(self, found: Any) -> Answered | ConfideError | None:
        if isinstance(found, OutOfMemoryError):
            return Overloaded("the queue's store is full", 5.0)
        if isinstance(found, ResponseError) and "WRONGTYPE" in str(
            found
        ):  # nor are those beside it put in again
            return Unreachable("what is in the queue is no record of a request")
        if isinstance(found, RedisError):
            raise found
        match found[0]:
            case b"answered":
                return Answered(found[1], found[2])
            case b"other":
                return Duplicate("another request has this id")
            case b"full":
                return Overloaded("as many requests wait in the queue as may, or its store is full")
        return None

    async def look(self, ids: Sequence[bytes]) -> tuple[dict[bytes, Answered], list[bytes]]:
        """Return the answers that there are to these requests, and which of them are not known."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for name in ids:
                pipe.hmget(_REQUEST + name, "digest", "head", "body")
            found = dict(zip(ids, await pipe.execute(), strict=True))
        answers = {name: Answered(head, body or b"") for name, (_, head, body) in found.items() if head}
        return answers, [name for name, (digest, head, _) in found.items() if not digest and not head]

    async def has_room(self) -> bool:
        """Return whether the store has memory for more than answers to what it has."""
        said: Any = await self._redis.info("memory")
        return not said["maxmemory"] or said["used_memory"] < ROOM * said["maxmemory"]

    async def length(self) -> int:
        """Return how many requests wait or are being answered."""
        return int(await self._redis.xlen(STREAM))

    async def ready(self) -> bool:
        """Return whether a worker is ready, or was a few seconds ago."""
        return bool(await self._redis.exists(READY))

    async def tell_ready(self) -> None:
        """Say that a worker is."""
        await self._redis.set(READY, b"1", px=READY_MS)

    async def take(self, most: int, wait_ms: int) -> list[Entry]:
        """Take out requests that nobody has had yet, of a bounded size in all; wait for the first of them."""
        found: Any = await self._redis.xreadgroup(
            GROUP, self._consumer, {STREAM: ">"}, count=1, block=wait_ms
        )
        taken = [_entry(name, fields, 1) for name, fields in found[0][1]] if found else []
        left = TAKEN_BYTES - sum(each.size for each in taken)
        if 0 < len(taken) < most and left > 0:  # those that came right behind it go with it
            with contextlib.suppress(RedisError, OSError):  # what is out is out
                taken += await self._taken(_TAKE, most - len(taken), left)
        return taken

    async def take_over(self, idle_ms: int, most: int) -> list[Entry]:
        """Take over requests, of a bounded size in all, that somebody has had for so long without a sign of life.

        It does not count as a delivery until `count` says so.
        """
        return await self._taken(_TAKE_OVER, most, TAKEN_BYTES, idle_ms)

    async def _taken(self, script: str, most: int, size: int, *more: int) -> list[Entry]:
        found: Any = await self._redis.eval(script, 1, STREAM, GROUP, self._consumer, most, size, *more)
        return [
            _entry(name, dict(zip(fields[::2], fields[1::2], strict=True)), deliveries + 1)
            for name, fields, deliveries in found
        ]

    async def count(self, entries: Iterable[Entry]) -> None:
        """Count requests that were taken over as delivered. Doing it again changes nothing."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for each in entries:
                more: dict[str, Any] = {"retrycount": each.deliveries, "justid": True}
                pipe.xclaim(STREAM, GROUP, self._consumer, 0, [each.entry], **more)
            await pipe.execute()

    async def hold(self, entries: Iterable[Entry]) -> None:
        """Give a sign of life of requests that are being answered."""
        names: list[Any] = [each.entry for each in entries]
        if names:
            await self._redis.xclaim(STREAM, GROUP, self._consumer, 0, names, justid=True)

    async def release(self, entries: Iterable[Entry], idle_ms: int, *, blamed: bool) -> None:
        """Leave requests to whoever takes them over next, now.

        Args:
            entries: of them.
            idle_ms: after which requests are taken over.
            blamed: a worker had them when it ended: that counts as a delivery.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            for each in entries:
                count = each.deliveries if blamed else each.deliveries - 1
                more: dict[str, Any] = {"idle": idle_ms, "retrycount": count, "justid": True}
                pipe.xclaim(STREAM, GROUP, self._consumer, 0, [each.entry], **more)
            await pipe.execute()

    async def answer(self, answers: Iterable[tuple[Entry, Answered]]) -> None:
        """Put answers down and acknowledge their requests, some at a time, each with its request in one step.

        Doing it again changes nothing.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            for some in _together(answers):
                keys: list[Any] = [STREAM, WAITING]
                said: list[Any] = [GROUP, ANSWERED]
                for entry, answered in some:
                    keys.append(_REQUEST + entry.id)
                    said += (entry.entry, entry.size, answered.head, answered.body)
                    said += (_kept_ms(answered.head), entry.id)
                pipe.eval(_ANSWER, len(keys), *keys, *said)
            await pipe.execute()

    async def discard(self, entry: Entry) -> None:
        """Remove what is no request, and so has nobody to be told."""
        await self._redis.eval(_DISCARD, 2, STREAM, WAITING, GROUP, entry.entry, entry.size)

    async def forget_consumers(self, idle_ms: int) -> None:
        """Remove relays that have gone, and left nothing."""
        for each in await self._redis.xinfo_consumers(STREAM, GROUP):
            if not each["pending"] and each["idle"] > idle_ms:
                await self._redis.xgroup_delconsumer(STREAM, GROUP, each["name"])


def _entry(name: bytes, fields: dict[bytes, bytes] | None, deliveries: int) -> Entry:
    said = fields or {}
    return Entry(name, said.get(b"id", b""), said.get(b"head", b""), said.get(b"body", b""), deliveries)


def _together(answers: Iterable[tuple[Entry, Answered]]) -> Iterator[list[tuple[Entry, Answered]]]:
    """Yield the answers, as many at a time as have a bounded size; what is larger goes alone."""
    some: list[tuple[Entry, Answered]] = []
    size = 0
    for each in answers:
        size += len(each[1].body)
        if some and size > TOGETHER_BYTES:
            yield some
            some, size = [], len(each[1].body)
        some.append(each)
    if some:
        yield some


@lru_cache(maxsize=256)  # most are the same
def _kept_ms(head: bytes) -> int:
    """Return how long an answer is kept: one that is sealed, or gives a request up, for as long as that may come."""
    try:
        said = AnswerHead.decode(head)
    except InvalidRequest:
        return RETRY_MS
    sealed = said.status == 200 and said.headers.get("content-type") == MEDIA_TYPE
    return KEPT_MS if sealed or said.headers.get(ERROR_HEADER) == Abandoned.__name__ else RETRY_MS
