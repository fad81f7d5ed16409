"""The HTTP shell of a worker: the Open Inference Protocol's endpoints, sealed requests, metrics. Decides nothing.

A bare ASGI application: what a framework would do for each request costs more than a small model's run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from confide import __version__
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
    send_json,
    target_of,
)
from confide.serving.batches import answer_batch
from confide.serving.clients import bearer
from confide.serving.envelope import Target
from confide.serving.failures import InvalidRequest, UnknownModel
from confide.serving.frames import BATCH_PATH, frames
from confide.serving.identity import PATH
from confide.serving.metrics import CONTENT_TYPE
from confide.serving.oip import Body, RestRequest
from confide.serving.sealed import CONTEXT_HEADER, MEDIA_TYPE
from confide.serving.service import Answer, Caller, Service

EXTENSIONS = ("binary_tensor_data", "model_repository")
JSON_LENGTH = b"inference-header-content-length"
CONTEXT = CONTEXT_HEADER.encode()
BATCH_HEADS_BYTES = 1024 * 1024
"""So much more a batch of requests may have than one."""
_BINARY, _SEALED = b"application/octet-stream", MEDIA_TYPE.encode()


class Application:
    """The ASGI application.

    Args:
        service: answers.
        admission: takes requests, or refuses them.
        introduce: returns the worker's introduction for a nonce; empty: the one of its certificate.
        ready: whether it is attested and every model is warm.
    """

    def __init__(
        self,
        service: Service,
        admission: Admission,
        introduce: Callable[[str], Awaitable[dict[str, Any]]],
        ready: Callable[[], bool],
    ) -> None:
        self._service, self._introduce, self._ready = service, introduce, ready
        self._admission = admission
        self._introductions = RateLimit(time.monotonic, 1, 20)
        self._introductions_in_batches = RateLimit(time.monotonic, 10, 200)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: Headers = dict(scope["headers"])
        try:
            self._admission.take(client_of(scope))
            target = target_of(scope["path"]) if scope["method"] == "POST" else None
            if target is not None:
                await self._post(scope, target, headers, receive, send)
            else:
                await self._route(scope, headers, receive, send)
        except ConfideError as error:
            await send_error(send, error)
        except Exception:  # noqa: BLE001 - no traceback may leave with values of a request in it
            await send_error(send, ConfideError("internal error"))

    async def _route(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        match scope["method"], scope["path"].strip("/").split("/"):
            case "POST", [*_] if scope["path"] == BATCH_PATH:
                await self._batch(scope, headers, receive, send)
            case "GET", [*_] if scope["path"] == PATH:
                await self._introduction(scope, send)
            case "GET", ["v2", "health", "live"]:
                await send_answer(send, 200, b"")
            case "GET", ["v2", "health", "ready"]:
                await send_answer(send, 200 if self._ready() else 503, b"")
            case "GET", ["metrics"]:
                await send_answer(send, 200, self._metrics(), content_type=CONTENT_TYPE.encode())
            case method, path:
                await self._plain_only(method, path, headers, send)

    async def _plain_only(self, method: str, path: list[str], headers: Headers, send: Send) -> None:
        """Answer what tells of models: to clients that may ask in clear."""
        service = self._service
        service.take_plain(_token(headers))
        match method, path:
            case "GET", ["v2"]:
                said = {"name": "confide", "version": __version__, "extensions": list(EXTENSIONS)}
                await send_json(send, said)
            case "GET", ["v2", "models", model]:
                await send_json(send, service.metadata(Target("metadata", model)))
            case "GET", ["v2", "models", model, "versions", version]:
                await send_json(send, service.metadata(Target("metadata", model, version)))
            case "GET", ["v2", "models", model, "ready"]:
                await send_answer(send, 200 if _loaded(service, model) else 404, b"")
            case "GET", ["v2", "models", model, "versions", version, "ready"]:
                await send_answer(send, 200 if _loaded(service, model, version) else 404, b"")
            case "POST", ["v2", "repository", "index"]:
                await send_answer(send, 200, json.dumps(service.models.index()).encode())
            case _:
                raise NotFound("no such endpoint")

    async def _post(
        self, scope: Scope, target: Target, headers: Headers, receive: Receive, send: Send
    ) -> None:
        address = client_of(scope)
        self._check_length(headers)
        sealed = headers.get(b"content-type") == _SEALED
        if not sealed:
            client = self._service.take_plain(_token(headers)) or address
            if b"content-encoding" in headers:
                raise InvalidRequest("compressed requests are not taken")
            if target.operation != "infer":
                raise NotFound("no such endpoint")
        parent = headers.get(b"traceparent", b"").decode("latin-1")
        with self._admission.pending(address) as account:
            data = await read_body(receive, account)
            if sealed:
                context = headers.get(CONTEXT, b"").decode("latin-1")
                bound = Target(target.operation, target.model, target.version, context)
                reply = await self._service.sealed(bound, data, Caller(address, account, parent))
                account.add(len(reply))
                await send_answer(send, 200, reply, content_type=_SEALED)
            else:
                asked = RestRequest(Body(data, _json_length(headers)))
                answer = await self._service.plain(target, asked, Caller(client, account, parent))
                account.add(len(answer.body.data))
                await _send_plain(send, answer)

    async def _batch(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        """Answer several requests, each in its own account."""
        if scope.get("in_batch"):
            raise NotFound("no such endpoint")
        self._check_length(headers, BATCH_HEADS_BYTES)
        with self._admission.pending(client_of(scope)) as account:
            batch = frames(await read_body(receive, account))
        await answer_batch(self, batch, scope.get("client"), send)

    def _check_length(self, headers: Headers, beside: int = 0) -> None:
        self._admission.check_size(declared_length(headers) - beside)

    async def _introduction(self, scope: Scope, send: Send) -> None:
        nonce = nonce_of(scope)
        if nonce:  # evidence is made for it
            many = scope.get("in_batch")  # all clients of a front end, which has taken each of them by itself
            take(self._introductions_in_batches if many else self._introductions, client_of(scope))
        await send_json(send, await self._introduce(nonce))

    def _metrics(self) -> bytes:
        waiting = {(m.name, m.version): m.batcher.waiting for m in self._service.models.all()}
        return self._service.metrics.text(waiting)


def _token(headers: Headers) -> str:
    return bearer(headers.get(b"authorization", b"").decode("latin-1"))


def _loaded(service: Service, model: str, version: str | None = None) -> bool:
    try:
        service.models.get(model, version)
    except UnknownModel:
        return False
    return True


def _json_length(headers: Headers) -> int | None:
    text = headers.get(JSON_LENGTH)
    if text is None:
        return None
    if not text.isdigit() or len(text) > 12:
        raise InvalidRequest("Inference-Header-Content-Length is not a length")
    return int(text)


async def _send_plain(send: Send, answer: Answer) -> None:
    body = answer.body
    if body.json_bytes is None:
        await send_answer(send, answer.status, bytes(body.data))
        return
    length = (JSON_LENGTH, str(body.json_bytes).encode())
    await send_answer(send, answer.status, bytes(body.data), length, content_type=_BINARY)
