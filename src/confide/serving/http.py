"""The HTTP shell of a worker: the Open Inference Protocol's endpoints, sealed requests, metrics. Decides nothing.

A bare ASGI application: what a framework would do for each request costs more than a small model's run.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from confide import __version__
from confide.broker.acceptor import one_client
from confide.broker.sessions import RateLimit
from confide.errors import ConfideError
from confide.serving.admission import Account, Admission, take
from confide.serving.clients import bearer
from confide.serving.envelope import Target
from confide.serving.failures import InvalidRequest, NotKnown, Overloaded, UnknownModel
from confide.serving.identity import MAX_NONCE_CHARS, PATH
from confide.serving.metrics import CONTENT_TYPE
from confide.serving.oip import Body, RestRequest
from confide.serving.sealed import MEDIA_TYPE
from confide.serving.service import Answer, Caller, Service, error_body

EXTENSIONS = ("binary_tensor_data", "model_repository")
JSON_LENGTH = b"inference-header-content-length"
CONTEXT = b"confide-context"
PIECE_BYTES = 256 * 1024
"""A longer answer goes in such pieces, as its client takes them."""

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = Mapping[bytes, bytes]
_JSON, _BINARY, _SEALED = b"application/json", b"application/octet-stream", MEDIA_TYPE.encode()


class NotFound(UnknownModel):
    """No such endpoint."""


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers: Headers = dict(scope["headers"])
        try:
            self._admission.take(_client(scope))
            path = scope["path"].strip("/").split("/")
            await self._route(scope, path, headers, receive, send)
        except ConfideError as error:
            await _send_error(send, error)
        except Exception:  # noqa: BLE001 - no traceback may leave with values of a request in it
            await _send_error(send, ConfideError("internal error"))

    async def _route(
        self, scope: Scope, path: list[str], headers: Headers, receive: Receive, send: Send
    ) -> None:
        match scope["method"], path:
            case "POST", ["v2", "models", model, "infer"]:
                await self._post(scope, Target("infer", model), headers, receive, send)
            case "POST", ["v2", "models", model, "versions", version, "infer"]:
                await self._post(scope, Target("infer", model, version), headers, receive, send)
            case "POST", ["v2", "models", model]:
                await self._post(scope, Target("metadata", model), headers, receive, send)
            case "POST", ["v2", "models", model, "versions", version]:
                await self._post(scope, Target("metadata", model, version), headers, receive, send)
            case "POST", ["confide", "v1", "serving", "session"]:
                await self._post(scope, Target("session"), headers, receive, send)
            case "GET", [*_] if scope["path"] == PATH:
                await self._introduction(scope, send)
            case "GET", ["v2", "health", "live"]:
                await _send(send, 200, b"")
            case "GET", ["v2", "health", "ready"]:
                await _send(send, 200 if self._ready() else 503, b"")
            case "GET", ["metrics"]:
                await _send(send, 200, self._metrics(), content_type=CONTENT_TYPE.encode())
            case method, path:
                await self._plain_only(method, path, headers, send)

    async def _plain_only(self, method: str, path: list[str], headers: Headers, send: Send) -> None:
        """Answer what tells of models: to clients that may ask in clear."""
        service = self._service
        service.take_plain(_token(headers))
        match method, path:
            case "GET", ["v2"]:
                said = {"name": "confide", "version": __version__, "extensions": list(EXTENSIONS)}
                await _send_json(send, said)
            case "GET", ["v2", "models", model]:
                await _send_json(send, service.metadata(Target("metadata", model)))
            case "GET", ["v2", "models", model, "versions", version]:
                await _send_json(send, service.metadata(Target("metadata", model, version)))
            case "GET", ["v2", "models", model, "ready"]:
                await _send(send, 200 if _loaded(service, model) else 404, b"")
            case "GET", ["v2", "models", model, "versions", version, "ready"]:
                await _send(send, 200 if _loaded(service, model, version) else 404, b"")
            case "POST", ["v2", "repository", "index"]:
                await _send(send, 200, json.dumps(service.models.index()).encode())
            case _:
                raise NotFound("no such endpoint")

    async def _post(
        self, scope: Scope, target: Target, headers: Headers, receive: Receive, send: Send
    ) -> None:
        address = _client(scope)
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
            data = await _body(receive, account)
            if sealed:
                context = headers.get(CONTEXT, b"").decode("latin-1")
                bound = Target(target.operation, target.model, target.version, context)
                reply = await self._service.sealed(bound, data, Caller(address, account, parent))
                account.add(len(reply))
                await _send(send, 200, reply, content_type=_SEALED)
            else:
                asked = RestRequest(Body(data, _json_length(headers)))
                answer = await self._service.plain(target, asked, Caller(client, account, parent))
                account.add(len(answer.body.data))
                await _send_answer(send, answer)

    def _check_length(self, headers: Headers) -> None:
        declared = headers.get(b"content-length", b"0")
        self._admission.check_size(int(declared) if declared.isdigit() and len(declared) <= 15 else 2**63)

    async def _introduction(self, scope: Scope, send: Send) -> None:
        nonces = parse_qs(scope["query_string"].decode("latin-1")).get("nonce", [""])
        nonce = nonces[0]
        if len(nonce) > MAX_NONCE_CHARS or (nonce and not (nonce.isascii() and nonce.isalnum())):
            raise InvalidRequest(f"a nonce has up to {MAX_NONCE_CHARS} letters and digits")
        if nonce:  # evidence is made for it
            take(self._introductions, _client(scope))
        await _send_json(send, await self._introduce(nonce))

    def _metrics(self) -> bytes:
        waiting = {(m.name, m.version): m.batcher.waiting for m in self._service.models.all()}
        return self._service.metrics.text(waiting)


def _client(scope: Scope) -> str:
    return one_client(scope["client"][0]) if scope.get("client") else ""


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


async def _body(receive: Receive, account: Account) -> bytes:
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the request was cut off")
        parts.append(message.get("body", b""))
        account.add(len(parts[-1]))
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def _send_answer(send: Send, answer: Answer) -> None:
    body = answer.body
    if body.json_bytes is None:
        await _send(send, answer.status, bytes(body.data))
        return
    length = (JSON_LENGTH, str(body.json_bytes).encode())
    await _send(send, answer.status, bytes(body.data), length, content_type=_BINARY)


async def _send_json(send: Send, value: dict[str, Any]) -> None:
    await _send(send, 200, json.dumps(value).encode())


async def _send_error(send: Send, error: ConfideError) -> None:
    more = [(b"confide-error", type(error).__name__.encode()), (b"connection", b"close")]
    if isinstance(error, NotKnown):
        more.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, Overloaded):
        more[1:] = [(b"retry-after", str(int(-(-error.retry_after_s // 1))).encode())]
    await _send(send, error.http_status, bytes(error_body(error).data), *more)


async def _send(
    send: Send, status: int, body: bytes, *more: tuple[bytes, bytes], content_type: bytes = _JSON
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for place in range(0, len(body) - PIECE_BYTES, PIECE_BYTES):
        piece = body[place : place + PIECE_BYTES]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)  # it is written, and the next one waits until its client has taken most of it
    rest = body[(len(body) - 1) // PIECE_BYTES * PIECE_BYTES :] if len(body) > PIECE_BYTES else body
    await send({"type": "http.response.body", "body": rest})
