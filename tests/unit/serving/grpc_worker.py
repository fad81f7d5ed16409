"""A worker without its enclave that serves gRPC over TLS, and clients of it: gRPC's own library, and bare HTTP/2."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time

import grpc
import h2.config
import h2.connection
import uvloop

from confide.attestation.evidence import StatedImage
from confide.broker.https import listen
from confide.enclave.attester import OwnEvidence
from confide.enclave.simulated.issuer import SimulatedIssuer
from confide.keys.signing import generate_signing_key
from confide.serving.configuration import Configuration
from confide.serving.grpc_messages import message
from confide.serving.grpc_server import GrpcServer
from confide.serving.identity import WorkerIdentity

from .worker import POOL, Worker

PREFIX = "/inference.GRPCInferenceService/"


def new_identity():
    image = StatedImage(measurement="ab" * 32, role="driver", svn=1)
    issuer = SimulatedIssuer(generate_signing_key(), image)
    evidence = OwnEvidence("simulated", image, lambda runtime: issuer.issue(runtime.report_data()))
    return WorkerIdentity(evidence, ["127.0.0.1", "localhost"], int(time.time()))


class GrpcWorker(Worker):
    """A worker, its server of gRPC, and how it is reached."""

    async def start(self):
        await self.follow()
        self.identity = new_identity()
        self.leaf = self.identity.leaf(POOL, int(time.time()))
        self.authority = self.identity.introduce(POOL, self.leaf)["authority"].encode()
        self.server = GrpcServer(self.service, self.admission, lambda: self.ready, self.leaf)
        self.listener = listen("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.server.start(self.listener)

    def channel(self, authority=None):
        """A new connection each: channels of one address share one otherwise."""
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        trusted = grpc.ssl_channel_credentials(authority or self.authority)
        return grpc.secure_channel(f"127.0.0.1:{self.port}", trusted, options=options)

    def call(self, method, request=None, *, channel=None, **more):
        """Call a method; a request of bytes goes as it is."""
        path = method if method.startswith("/") else PREFIX + method
        kind = bytes if path != PREFIX + method else message(f"{method}Response").FromString
        with contextlib.ExitStack() as stack:
            channel = channel or stack.enter_context(self.channel())
            asked = channel.unary_unary(path, request_serializer=_bytes, response_deserializer=kind)
            return asked(b"" if request is None else request, timeout=more.pop("timeout", 30), **more)

    def refused(self, method, request=None, **more):
        """Return the error of a call: its status, what it says, and what comes with it."""
        try:
            self.call(method, request, **more)
        except grpc.RpcError as error:
            return error.code().name, error.details(), dict(error.trailing_metadata() or ())
        raise AssertionError("it was answered")

    def socket(self, most=ssl.TLSVersion.TLSv1_3):
        context = ssl.create_default_context(cadata=self.authority.decode())
        context.maximum_version = most
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        return context.wrap_socket(plain, server_hostname="127.0.0.1")

    def http2(self):
        """A connection without the manners of a library: socket, and what makes its frames."""
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        connection.initiate_connection()
        reached = self.socket()
        reached.sendall(connection.data_to_send())
        return reached, connection


def headers(path):
    return [
        (":method", "POST"),
        (":scheme", "https"),
        (":path", path),
        (":authority", "127.0.0.1"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]


def serve(folder, test, **settings):
    """Serve the folder's models, and let `test` ask in a thread of its own."""

    async def body():
        worker = GrpcWorker(folder, Configuration(**({"plain_requests": True} | settings)))
        await worker.start()
        worker.loop = asyncio.get_running_loop()
        try:
            await worker.loop.run_in_executor(None, test, worker)
        finally:
            await worker.server.close()
            worker.listener.close()
            await worker.models.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(body())


def _bytes(request):
    return request if isinstance(request, bytes) else request.SerializeToString()
