"""The front end of a queue: takes sealed requests from clients and hands them the answers that workers seal.

It has no key, opens nothing, and is nobody: what it says of workers are their own introductions, which clients verify.
Requests in clear are not taken, so that none gets into the queue.
"""

from __future__ import annotations

import asyncio
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from redis.exceptions import RedisError

from confide.broker.sessions import RateLimit
from confide.errors import ConfideError
from confide.serving.admission import Admission, take
from confide.serving.asgi import (
    Headers,
    NotFound,
    Receive,
    Scope,
    Send,
    client_of,
    declared_length,
    nonce_of,
    read_body,
    send_answer,
    send_error,
    target_of,
)
from confide.serving.configuration import Configuration
from confide.serving.envelope import Target
from confide.serving.failures import InvalidRequest, NotTaken, Unreachable
from confide.serving.frames import AnswerHead, RequestHead
from confide.serving.identity import PATH
from confide.serving.metrics import CONTENT_TYPE
from confide.serving.queue_entries import Answered, Asked
from confide.serving.sealed import CONTEXT_HEADER, ERROR_HEADER, MEDIA_TYPE
from confide.serving.waiting import Waiting

MAX_BODY_MIB = 16
"""As workers do, unless their owner says otherwise."""
_PASSED_ON = ("content-type", ERROR_HEADER, "retry-after")
_TRACE = "traceparent"


class FrontEnd:
    """The ASGI application.

    Args:
        waiting: puts requests into the queue and waits for their answers.
    """

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._admission = Admission(Configuration(max_body_mib=MAX_BODY_MIB))
        self._introductions = RateLimit(time.monotonic, 1, 20)
        registry = self._registry = CollectorRegistry()
        self._answered = Counter(
            "confide_front_end_requests", "Sealed requests answered", ["status"], registry=registry
        )
        self._waits = Gauge("confide_front_end_waiting", "Requests that wait here", registry=registry)
        self._length = Gauge(
            "confide_queue_requests", "Requests that are in the queue or being answered", registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            self._admission.take(client_of(scope))
            await self._route(scope, dict(scope["headers"]), receive, send)
        except ConfideError as error:
            await send_error(send, error)
        except (RedisError, OSError) as error:
            await send_error(send, Unreachable(f"the queue: {type(error).__name__}"))
        except Exception:  # noqa: BLE001 - nothing of a request may leave in a traceback
            await send_error(send, ConfideError("internal error"))

    async def _route(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        match scope["method"], scope["path"]:
            case "POST", path if (target := target_of(path)) is not None:
                await self._post(scope, target, headers, receive, send)
            case "GET", path if path == PATH:
                await self._introduction(scope, send)
            case "GET", "/v2/health/live":
                await send_answer(send, 200, b"")
            case "GET", "/v2/health/ready":
                await send_answer(send, 200 if self._waiting.ready else 503, b"")
            case "GET", "/metrics":
                await send_answer(send, 200, self._metrics(), content_type=CONTENT_TYPE.encode())
            case _:
                raise NotFound("no such endpoint: a front end takes sealed requests alone")

    async def _post(
        self, scope: Scope, target: Target, headers: Headers, receive: Receive, send: Send
    ) -> None:
        self._admission.check_size(declared_length(headers))
        if headers.get(b"content-type") != MEDIA_TYPE.encode():
            raise NotTaken("requests must be sealed here: a front end of a queue takes no others")
        said = {name: headers.get(name.encode(), b"").decode("latin-1") for name in (CONTEXT_HEADER, _TRACE)}
        kept = {name: value for name, value in said.items() if value}
        bound = Target(target.operation, target.model, target.version, said[CONTEXT_HEADER])
        head = RequestHead("POST", scope["path"], headers={"content-type": MEDIA_TYPE, **kept})
        with self._admission.pending(client_of(scope)) as account:
            body = await read_body(receive, account)
            try:
                answered = await self._answer(Asked.sealed(bound, head.encode(), body), receive)
                if answered is None:
                    return
                account.add(len(answered.body))
                status = await _pass_on(send, answered)
            except ConfideError as error:
                self._answered.labels(str(error.http_status)).inc()
                raise
        self._answered.labels(str(status)).inc()

    async def _answer(self, asked: Asked, receive: Receive) -> Answered | None:
        """Return the answer; None: who asked has gone, and does not wait for it."""
        answer = asyncio.ensure_future(self._waiting.answer(asked))
        gone = asyncio.ensure_future(receive())
        try:
            await asyncio.wait((answer, gone), return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() else None
        finally:
            for each in (answer, gone):
                each.cancel()

    async def _introduction(self, scope: Scope, send: Send) -> None:
        nonce = nonce_of(scope)
        take(self._introductions, client_of(scope))
        head = RequestHead("GET", PATH, f"nonce={nonce}" if nonce else "")
        await _pass_on(send, await self._waiting.answer(Asked.single(head.encode())))

    def _metrics(self) -> bytes:
        self._waits.set(len(self._waiting))
        self._length.set(self._waiting.length)
        return bytes(generate_latest(self._registry))


async def _pass_on(send: Send, answered: Answered) -> int:
    """Send what came out of the queue, and return its status: anybody may have put it there, and clients know that."""
    try:
        head = AnswerHead.decode(answered.head)
        headers = {name: head.headers[name].encode("latin-1") for name in _PASSED_ON if name in head.headers}
    except (InvalidRequest, UnicodeEncodeError):
        raise Unreachable("what is in the queue is no answer") from None
    if any(not value.isascii() or not value.decode().isprintable() for value in headers.values()):
        raise Unreachable("what is in the queue is no answer")
    content_type = headers.pop("content-type", b"application/json")
    more = [(name.encode(), value) for name, value in headers.items()]
    await send_answer(send, head.status, answered.body, *more, content_type=content_type)
    return head.status
