"""A worker's answers to several requests that come in one: each as if it had come alone, sent when it is there.

For the relay between a queue and the worker (`relay.py`): what HTTP and TLS cost is shared by the requests of a batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any

from confide.errors import ConfideError
from confide.serving.failures import InvalidRequest
from confide.serving.frames import BATCH_TYPE, AnswerHead, Frame, RequestHead
from confide.serving.sealed import ERROR_HEADER

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
    answers: list[bytes] = []
    some = asyncio.Event()

    async def answer(frame: Frame) -> None:
        answered = await _answer(application, frame, client)  # meanwhile `answers` may be another list
        answers.append(answered.encode())
        some.set()

    async with asyncio.TaskGroup() as tasks:
        for frame in batch:
            tasks.create_task(answer(frame))
        await send(_STARTED)
        left = len(batch)
        while left:
            await some.wait()  # requests that ran together are answered together, in one piece
            some.clear()
            left -= len(answers)
            piece, answers = b"".join(answers), []
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _answer(application: Application, frame: Frame, client: Any) -> Frame:
    try:
        method, path, query, headers = _asked(frame.head)
    except InvalidRequest as error:
        return _failed(frame, error)
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [*headers, (b"content-length", str(len(frame.body)).encode())],
        "client": client,
        "in_batch": True,
    }
    pieces: list[bytes] = []
    head = b""

    async def receive() -> Mapping[str, Any]:
        return {"type": "http.request", "body": frame.body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal head
        if message["type"] == "http.response.start":
            head = _answered(message["status"], tuple(message["headers"]))
        else:
            pieces.append(message.get("body", b""))

    try:
        await application(scope, receive, send)
    except Exception:  # noqa: BLE001 - one request stops no batch: its own answer is all that is missing
        return _failed(frame, ConfideError())
    return Frame(frame.number, head, b"".join(pieces))


def _failed(frame: Frame, error: ConfideError) -> Frame:
    head = AnswerHead(error.http_status, {ERROR_HEADER: type(error).__name__})
    return Frame(frame.number, head.encode(), b"")


@lru_cache(maxsize=256)  # the heads of most requests are the same
def _asked(head: bytes) -> tuple[str, str, bytes, tuple[tuple[bytes, bytes], ...]]:
    """Return method, path, query and headers, as ASGI has them.

    Raises:
        InvalidRequest: of another form.
    """
    said = RequestHead.decode(head)
    try:
        headers = tuple(
            (name.encode("latin-1"), text.encode("latin-1")) for name, text in said.headers.items()
        )
        query, _ = said.query.encode(), said.path.encode()
    except UnicodeEncodeError:
        raise InvalidRequest("a batch: a head of another form") from None
    return said.method, said.path, query, headers


@lru_cache(maxsize=256)
def _answered(status: int, headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    said = {name.decode("latin-1"): text.decode("latin-1") for name, text in headers}
    return AnswerHead(status, said).encode()
