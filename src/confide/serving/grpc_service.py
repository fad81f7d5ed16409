"""The Open Inference Protocol's service of gRPC: what is asked goes to `Service`, as in `http.py`. Decides nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.server import Stream

from confide import __version__
from confide.serving.clients import bearer
from confide.serving.envelope import Target
from confide.serving.failures import InvalidRequest, UnknownModel
from confide.serving.grpc_connection import account_of, client_of, send
from confide.serving.grpc_messages import METHODS, SERVICE, message
from confide.serving.grpc_request import MAX_NAME_CHARS, GrpcRequest
from confide.serving.service import Caller, Service

EXTENSIONS = ("model_repository",)

Call = Stream[Any, Any]


class InferenceService:
    """The service (grpclib's `IServable`).

    Args:
        service: answers.
        ready: whether it is attested and every model is warm.
    """

    def __init__(self, service: Service, ready: Callable[[], bool]) -> None:
        self._service, self._ready = service, ready

    def __mapping__(self) -> dict[str, Handler]:
        """Return path -> what answers there."""
        return {f"/{SERVICE}/{name}": self._handler(name) for name in METHODS}

    def _handler(self, name: str) -> Handler:
        if name == "ModelInfer":  # bytes: it is parsed when it is known to be small enough to be
            return Handler(self._infer, Cardinality.UNARY_UNARY, bytes, bytes)
        answer: Callable[[Any], dict[str, Any]] = getattr(self, f"_{name}")
        anybody = name in ("ServerLive", "ServerReady")
        request, reply = message(f"{name}Request"), message(f"{name}Response")

        async def call(stream: Call) -> None:
            if not anybody:
                self._service.take_plain(_token(stream))
            await send(stream, reply(**answer(await _received(stream))))

        return Handler(call, Cardinality.UNARY_UNARY, request, reply)

    async def _infer(self, stream: Call) -> None:
        client = self._service.take_plain(_token(stream)) or client_of(stream)
        data = await _received(stream)
        asked = GrpcRequest.parse(data)
        left_s = stream.deadline.time_remaining() if stream.deadline else None
        account = account_of(stream)
        caller = Caller(client, account, _metadata(stream, "traceparent"))
        answer = await self._service.plain(asked.target, asked, caller, left_s)
        account.add(len(answer.body.data))
        await send(stream, bytes(answer.body.data))

    def _ServerLive(self, _: Any) -> dict[str, Any]:  # noqa: N802 - methods are called as the protocol's
        return {"live": True}

    def _ServerReady(self, _: Any) -> dict[str, Any]:  # noqa: N802
        return {"ready": self._ready()}

    def _ServerMetadata(self, _: Any) -> dict[str, Any]:  # noqa: N802
        return {"name": "confide", "version": __version__, "extensions": EXTENSIONS}

    def _ModelReady(self, asked: Any) -> dict[str, Any]:  # noqa: N802
        try:
            self._service.models.get(*_model(asked))
        except UnknownModel:
            return {"ready": False}
        return {"ready": True}

    def _ModelMetadata(self, asked: Any) -> dict[str, Any]:  # noqa: N802
        name, version = _model(asked)
        return self._service.metadata(Target("metadata", name, version or ""))

    def _RepositoryIndex(self, asked: Any) -> dict[str, Any]:  # noqa: N802
        models = self._service.models.index()
        return {"models": [each for each in models if not asked.ready or each["state"] == "READY"]}


def _token(stream: Call) -> str:
    return bearer(_metadata(stream, "authorization"))


def _metadata(stream: Call, name: str) -> str:
    said = stream.metadata.get(name) if stream.metadata is not None else None
    return said if isinstance(said, str) else ""


async def _received(stream: Call) -> Any:
    received = await stream.recv_message()
    if received is None:
        raise InvalidRequest("a call without a message")
    return received


def _model(asked: Any) -> tuple[str, str | None]:
    if max(len(asked.name), len(asked.version)) > MAX_NAME_CHARS:
        raise InvalidRequest(f"a model's name and version have at most {MAX_NAME_CHARS} characters")
    return asked.name, asked.version or None
