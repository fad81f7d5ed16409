"""A worker's answers to several requests that come in one: each as if it had come alone, sent when it is there.

For the relay between a queue and the worker (`relay.py`): what HTTP and TLS cost is shared by the requests of a batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from confide.errors import ConfideError
from confide.serving.failures import InvalidRequest
from confide.serving.frames import BATCH_TYPE, AnswerHead, Frame, RequestHead

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
_STARTED = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", BATCH_TYPE.encode())]}


async def answer_batch(application: Application, batch: list[Frame], client: Any, send: Send) -> None:
    """Have an application answer each request of a batch, and send each answer when it is there.

    Args:
        application: of ASGI; answers all that it is asked.
        batch: nothing in it is trusted.
        client: address and port that the batch comes from.
        send: of ASGI, of the batch.
    """
    await send(_STARTED)
    one_at_a_time = asyncio.Lock()

    async def sent(frame: Frame) -> None:
        async with one_at_a_time:
            await send({"type": "http.response.body", "body": frame.encode(), "more_body": True})

    await asyncio.gather(*(_answer(application, frame, client, sent) for frame in batch))
    await send({"type": "http.response.body", "body": b""})


async def _answer(
    application: Application, frame: Frame, client: Any, sent: Callable[[Frame], Awaitable[None]]
) -> None:
    try:
        head = RequestHead.decode(frame.head)
        headers = [(name.encode("latin-1"), text.encode("latin-1")) for name, text in head.headers.items()]
        query, _ = head.query.encode(), head.path.encode()
    except (InvalidRequest, UnicodeEncodeError):
        refused = AnswerHead(InvalidRequest.http_status, {"confide-error": InvalidRequest.__name__})
        await sent(Frame(frame.number, refused.encode(), b""))
        return
    headers.append((b"content-length", str(len(frame.body)).encode()))
    scope = {
        "type": "http",
        "method": head.method,
        "path": head.path,
        "query_string": query,
        "headers": headers,
        "client": client,
        "in_batch": True,
    }
    pieces: list[bytes] = []
    answer = AnswerHead(500, {})

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": frame.body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal answer
        if message["type"] == "http.response.start":
            said = {name.decode("latin-1"): text.decode("latin-1") for name, text in message["headers"]}
            answer = AnswerHead(message["status"], said)
            return
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            await sent(Frame(frame.number, answer.encode(), b"".join(pieces)))

    try:
        await application(scope, receive, send)
    except Exception:  # noqa: BLE001 - one request stops no batch: its own answer is all that is missing
        failed = AnswerHead(ConfideError.http_status, {"confide-error": ConfideError.__name__})
        await sent(Frame(frame.number, failed.encode(), b""))
