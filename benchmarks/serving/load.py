"""Load on one server, from a process of its own: `python -m benchmarks.serving.load DOCUMENT`; prints a line of JSON.

Keep-alive connections, each one request after the other; what is asked is made beforehand as far as it can be.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from confide.serving import Client
from confide.serving.envelope import RequestContent, Target
from confide.serving.oip import write_request
from confide.serving.sealed import MEDIA_TYPE, seal_fresh, seal_ticketed

Made = Callable[[], tuple[bytes, dict[str, str]]]


def maker(form: str, given: dict[str, Any]) -> tuple[Made, ssl.SSLContext | None]:
    """Return what makes requests of a form, and how TLS is verified."""
    x = np.random.default_rng(7).standard_normal(given["shape"]).astype(np.float32)
    if form == "raw":
        context = ssl.create_default_context(cafile=given["ca"])
        return lambda: (x.tobytes(), {}), context
    if form in ("json", "oip-json"):
        document: dict[str, Any] = {"x": x.tolist()}
        if form == "oip-json":
            tensor = {"name": "x", "datatype": "FP32", "shape": given["shape"], "data": x.ravel().tolist()}
            document = {"inputs": [tensor]}
        data = json.dumps(document).encode()
        return lambda: (data, {"content-type": "application/json"}), None
    client = Client(given["url"], Path(given["accepted"]), ticket=form == "ticket")
    worker = client.verify()
    context = ssl.create_default_context(cadata=worker.authority_pem.decode())
    body = write_request({"x": x}, [])
    if form == "plain":
        return lambda: (bytes(body.data), {"inference-header-content-length": str(body.json_bytes)}), context
    client.infer(given["model"], {"x": x})
    target, headers = Target("infer", given["model"]), {"content-type": MEDIA_TYPE}

    def sealed() -> tuple[bytes, dict[str, str]]:
        content = RequestContent(body, int(time.time() * 1000) + 30_000)
        if form == "ticket":
            assert client._ticket is not None
            return seal_ticketed(content, target, client._ticket)[0], headers
        return seal_fresh(content, target, worker.key)[0], headers

    return sealed, context


async def load(given: dict[str, Any]) -> dict[str, float]:
    """Return requests, seconds, and percentiles of the latency in ms."""
    make, context = maker(given["form"], given)
    latencies: list[float] = []

    async def one(session: aiohttp.ClientSession, end: float) -> None:
        while (began := time.perf_counter()) < end:
            data, headers = make()
            async with session.post(given["url"] + given["path"], data=data, headers=headers) as answer:
                await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"status {answer.status}")
            latencies.append(time.perf_counter() - began)

    connector = aiohttp.TCPConnector(ssl=context if context else True, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        for phase, seconds in (("warming", 1.0), ("measuring", given["seconds"])):
            latencies.clear()
            print(phase, flush=True)
            began = time.perf_counter()
            await asyncio.gather(*(one(session, began + seconds) for _ in range(given["clients"])))
    p50, p99 = np.percentile(latencies, (50, 99)) * 1e3
    return {"requests": len(latencies), "seconds": time.perf_counter() - began, "p50_ms": p50, "p99_ms": p99}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(load(json.loads(sys.argv[1])))), flush=True)
