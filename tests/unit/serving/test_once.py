from __future__ import annotations

import asyncio

import pytest

from confide.serving.failures import Duplicate, ModelFailed
from confide.serving.once import Once


def test_the_same_again_is_answered_once():
    async def test():
        once, runs = Once(len), []

        async def work():
            runs.append(1)
            await asyncio.sleep(0)
            return b"answer"

        answers = await asyncio.gather(*(once.answer(b"id", b"digest", 60, work) for _ in range(3)))
        answers.append(await once.answer(b"id", b"digest", 60, work))
        assert (answers, len(runs)) == ([b"answer"] * 4, 1)

    asyncio.run(test())


def test_another_request_with_the_id_is_refused():
    async def test():
        once = Once(len)
        await once.answer(b"id", b"digest", 60, lambda: asyncio.sleep(0, b""))
        with pytest.raises(Duplicate):
            await once.answer(b"id", b"other", 60, lambda: asyncio.sleep(0, b""))

    asyncio.run(test())


def test_a_failure_is_told_to_all_who_wait_and_forgotten():
    async def test():
        once, runs = Once(len), []

        async def work():
            runs.append(1)
            await asyncio.sleep(0)
            raise ModelFailed("no")

        answers = await asyncio.gather(
            *(once.answer(b"id", b"digest", 60, work) for _ in range(2)), return_exceptions=True
        )
        assert [type(each) for each in answers] == [ModelFailed] * 2
        assert len(runs) == 1
        assert await once.answer(b"id", b"digest", 60, lambda: asyncio.sleep(0, b"now")) == b"now"

    asyncio.run(test())


def test_what_is_kept_is_bounded_in_number_bytes_and_time():
    async def test():
        now = [0.0]

        async def count(once, entries):
            again = []

            async def work():
                again.append(1)
                return b"x" * 10

            for number in range(entries):
                await once.answer(bytes([number]), b"", 60, work)
            first = len(again)
            for number in range(entries):
                await once.answer(bytes([number]), b"", 60, work)
            return first, len(again) - first

        assert await count(Once(len, clock=lambda: now[0]), 5) == (5, 0)
        assert (await count(Once(len, max_entries=3, clock=lambda: now[0]), 5))[1] > 0
        assert (await count(Once(len, max_bytes=25, clock=lambda: now[0]), 5))[1] > 0
        once = Once(len, clock=lambda: now[0])
        await once.answer(b"id", b"", 60, lambda: asyncio.sleep(0, b"old"))
        now[0] = 61.0
        assert await once.answer(b"id", b"", 60, lambda: asyncio.sleep(0, b"new")) == b"new"

    asyncio.run(test())
