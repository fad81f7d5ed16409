"""Load on a queue, from a process of its own: `python -m benchmarks.serving.queue_load DOCUMENT`; prints JSON.

No front end: requests go into the queue as one puts them there, so many at a time, and answers are waited for.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from confide.serving import Client
from confide.serving.envelope import RequestContent, Target
from confide.serving.frames import AnswerHead, RequestHead
from confide.serving.oip import write_request
from confide.serving.queue_entries import Asked
from confide.serving.redis_link import RedisLink
from confide.serving.redis_queue import RedisQueue
from confide.serving.sealed import MEDIA_TYPE, seal_fresh, seal_ticketed
from confide.serving.waiting import Waiting

PATH = "/v2/models/mlp/infer"


async def load(given: dict[str, Any]) -> dict[str, float]:
    """Return requests, seconds, and percentiles of the latency in ms."""
    ca = Path(given["front_ca"]).read_bytes()
    client = await asyncio.to_thread(
        Client, given["url"], Path(given["accepted"]), proxy_ca=ca, ticket=given["form"] == "ticket"
    )
    x = np.random.default_rng(7).standard_normal((1, 16)).astype(np.float32)
    await asyncio.to_thread(client.infer, "mlp", {"x": x})
    body, key, target = write_request({"x": x}, []), client.verify().key, Target("infer", "mlp")
    head = RequestHead("POST", PATH, headers={"content-type": MEDIA_TYPE}).encode()
    link = RedisLink.parse(given["queue"], Path(given["password"]), Path(given["ca"]))
    latencies: list[float] = []

    async def one(waiting: Waiting, end: float) -> None:
        while (began := time.perf_counter()) < end:
            content = RequestContent(body, int(time.time() * 1000) + 30_000)
            if given["form"] == "ticket":
                assert client._ticket is not None
                data, _ = seal_ticketed(content, target, client._ticket)
            else:
                data, _ = seal_fresh(content, target, key)
            answer = await waiting.answer(Asked.sealed(target, head, data))
            if AnswerHead.decode(answer.head).status != 200:
                raise RuntimeError(repr(answer.head))
            latencies.append(time.perf_counter() - began)

    async with link.connect() as redis:
        waiting = Waiting(redis, RedisQueue(redis))
        running = asyncio.create_task(waiting.run())
        for phase, seconds in (("warming", 1.0), ("measuring", given["seconds"])):
            latencies.clear()
            print(phase, flush=True)
            began = time.perf_counter()
            await asyncio.gather(*(one(waiting, began + seconds) for _ in range(given["deep"])))
        took = time.perf_counter() - began
        running.cancel()
    p50, p99 = np.percentile(latencies, (50, 99)) * 1e3
    return {"requests": len(latencies), "seconds": took, "p50_ms": p50, "p99_ms": p99}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(json.loads(sys.argv[1])))), flush=True)
