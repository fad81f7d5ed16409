"""gRPC beside REST in the one process that was attested: on the event loop and by the TLS of Python, as REST is.

So TLS 1.3 is demanded, and certificates are replaced while it serves; grpcio's server can do the second only.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from google.protobuf.message import DecodeError
from grpclib.config import Configuration
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.proto import ProtoCodec
from grpclib.exceptions import GRPCError
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health
from grpclib.health.v1 import health_pb2
from grpclib.reflection.service import ServerReflection
from grpclib.reflection.v1 import reflection_pb2
from grpclib.reflection.v1alpha import reflection_pb2 as old_reflection_pb2

from confide.broker.https import server_tls
from confide.errors import ConfideError, Unavailable
from confide.serving.admission import Account, Admission, Pending
from confide.serving.failures import InvalidRequest, Overloaded
from confide.serving.grpc_connection import BoundedServer, answered, bound_messages, client_of
from confide.serving.grpc_messages import POOL
from confide.serving.grpc_service import Call, InferenceService
from confide.serving.service import Service, told

GRACE_S = 1.0
"""How long calls that are under way may take when the worker ends."""
WINDOW_BYTES = 1024 * 1024
"""What a connection may send that nobody has read yet."""
MAX_TOLD_CHARS = 1000
MAX_STREAMS = 64
"""Calls that are streams (reflection, watches of health) at once; of one client, a quarter."""
STREAM_S = 3600.0
"""So long one may last; its client begins another."""
CALL_S = 660.0
"""And a call that is none: longer than any deadline and the time to receive and send."""
_STATUS = {
    400: Status.INVALID_ARGUMENT,
    401: Status.UNAUTHENTICATED,
    403: Status.PERMISSION_DENIED,
    404: Status.NOT_FOUND,
    409: Status.ALREADY_EXISTS,
    413: Status.RESOURCE_EXHAUSTED,
    429: Status.RESOURCE_EXHAUSTED,
    503: Status.UNAVAILABLE,
    504: Status.DEADLINE_EXCEEDED,
}
"""HTTP's status of an error -> gRPC's."""


class GrpcServer:
    """The server, on the event loop that runs.

    Args:
        service: answers.
        admission: takes calls, or refuses them.
        ready: whether the worker is attested and every model is warm.
        pem: private key and certificate.
    """

    def __init__(self, service: Service, admission: Admission, ready: Callable[[], bool], pem: bytes) -> None:
        logging.getLogger("grpclib").setLevel(
            logging.CRITICAL + 1
        )  # tracebacks, with values of requests in them
        self.tls = grpc_tls(pem)
        self._admission, self._streams = admission, Pending(MAX_STREAMS, "streams")
        self._status, self._calls, self._ending = ServiceStatus(), 0, False
        self._status.set(ready())
        inference = InferenceService(service, ready)
        services = ServerReflection.extend([inference, Health({inference: [self._status]})], pool=_pool())
        self._server = BoundedServer(
            admission,
            [_Guarded(each.__mapping__(), self._answer) for each in services],
            codec=_Codec(),
            config=Configuration(
                http2_connection_window_size=WINDOW_BYTES, http2_stream_window_size=WINDOW_BYTES
            ),
        )

    def start(self, listener: socket.socket) -> None:
        """Serve on a bound socket."""
        self._server.serve(listener, self.tls)

    def tell_ready(self, ready: bool) -> None:
        """Tell those who watch the health service."""
        self._status.set(ready)

    async def close(self) -> None:
        """Take no more calls, let those that are under way come to an end for a second, and stop."""
        self._ending = True
        self._status.set(False)
        end = asyncio.get_running_loop().time() + GRACE_S
        while self._calls and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.01)
        self._server.close()

    async def _answer(self, call: Call, handler: Handler) -> None:
        self._calls += 1
        try:
            await self._bounded(call, handler)
        except (GRPCError, ConfideError) as error:
            await _refuse(call, error)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            await _refuse(call, Unavailable("a call with this id was given up while this one waited for it"))
        except Exception:  # noqa: BLE001 - whatever it was: it may hold values
            await _refuse(call, ConfideError("internal error"))
        finally:
            self._calls -= 1
            answered(call)

    async def _bounded(self, call: Call, handler: Handler) -> None:
        if self._ending:
            raise Unavailable("the worker ends")
        client = client_of(call)
        self._admission.take(client)
        stream = handler.cardinality is not Cardinality.UNARY_UNARY
        with self._admission.pending(client) as account, Account(self._streams, client) as streams:
            streams.add(int(stream))
            bound_messages(call, self._admission, client, account)
            try:
                async with asyncio.timeout(STREAM_S if stream else CALL_S) as limit:
                    await handler.func(call)
            except TimeoutError:
                if not limit.expired():
                    raise
                raise GRPCError(Status.UNAVAILABLE, "it has lasted long enough: begin another") from None


def grpc_tls(pem: bytes) -> ssl.SSLContext:
    """Return a context of TLS 1.3 for HTTP/2.

    Args:
        pem: private key and certificate.
    """
    context = server_tls(pem)
    context.set_alpn_protocols(["h2"])
    return context


class _Guarded:
    """A service whose methods are called through `answer` (grpclib's `IServable`)."""

    def __init__(
        self, mapping: Mapping[str, Handler], answer: Callable[[Call, Handler], Awaitable[None]]
    ) -> None:
        self._mapping, self._answer = mapping, answer

    def __mapping__(self) -> dict[str, Handler]:
        return {path: self._guarded(handler) for path, handler in self._mapping.items()}

    def _guarded(self, handler: Handler) -> Handler:
        async def call(stream: Call) -> None:
            await self._answer(stream, handler)

        return handler._replace(func=call)


class _Codec(ProtoCodec):
    """Messages, and bytes where a method has those in their place."""

    def encode(self, message: Any, message_type: Any) -> bytes:
        return message if message_type is bytes else super().encode(message, message_type)

    def decode(self, data: bytes, message_type: Any) -> Any:
        if message_type is bytes:
            return data
        try:
            return super().decode(data, message_type)
        except DecodeError:
            raise InvalidRequest("not a message of this method") from None


async def _refuse(call: Call, error: GRPCError | ConfideError) -> None:
    if isinstance(error, GRPCError):
        await call.send_trailing_metadata(status=error.status, status_message=error.message)
        return
    metadata = {"confide-error": type(error).__name__}
    if isinstance(error, Overloaded):
        metadata["retry-after"] = str(math.ceil(error.retry_after_s))
    await call.send_trailing_metadata(
        status=_STATUS.get(error.http_status, Status.INTERNAL),
        status_message=told(error)[:MAX_TOLD_CHARS],
        metadata=metadata,
    )


def _pool() -> Any:
    """Return the protocol's descriptions, with those of gRPC's own services beside them."""
    for module in (health_pb2, reflection_pb2, old_reflection_pb2):
        POOL.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    return POOL
