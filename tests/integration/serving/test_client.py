"""The client, against a worker in this process that lacks nothing but its enclave: TLS, evidence, tickets."""

from __future__ import annotations

import asyncio
import base64
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import uvloop

from confide.attestation.evidence import StatedImage
from confide.broker.https import https_server, listen, server_tls
from confide.enclave.attester import OwnEvidence
from confide.enclave.simulated.issuer import SimulatedIssuer
from confide.keys.signing import generate_signing_key, raw_public
from confide.serving import Client
from confide.serving.configuration import Configuration
from confide.serving.identity import AcceptedServing, WorkerIdentity

from ... import models
from ...unit.serving.worker import POOL, Worker

HOST = generate_signing_key()
IMAGE = StatedImage(measurement="ab" * 32, role="driver", svn=1)
ACCEPTED = AcceptedServing(
    version=1,
    tee="simulated",
    measurements=(IMAGE.measurement,),
    hosts=(base64.b64encode(raw_public(HOST.public_key())).decode(),),
    requests="clinic/pool",
)
X = np.array([[1, 2, 3, 4]], np.float32)


class Attested(Worker):
    """A worker with evidence, on a thread of its own. Each has an authority of its own; one may follow another."""

    def __init__(self, folder, configuration=None):
        super().__init__(folder, configuration or Configuration())
        issuer = SimulatedIssuer(HOST, IMAGE)
        evidence = OwnEvidence("simulated", IMAGE, lambda runtime: issuer.issue(runtime.report_data()))
        self.identity = WorkerIdentity(evidence, ["127.0.0.1"], int(time.time()))
        self.introduced = 0

    async def _introduce(self, nonce):
        self.introduced += 1
        return self.identity.introduce(POOL, self.identity.leaf(POOL, int(time.time()), nonce))

    @contextmanager
    def served(self, port=0):
        """Serve until the block ends, and give the address."""
        listener = listen("127.0.0.1", port)
        up = threading.Event()

        async def serve():
            await self.follow()
            self.server = https_server(self.app, server_tls(self.identity.leaf(POOL, int(time.time()))))
            serving = asyncio.create_task(self.server.serve(sockets=[listener]))
            while not self.server.started:
                await asyncio.sleep(0.01)
            up.set()
            await serving
            await self.models.close()

        def run():
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve())

        thread = threading.Thread(target=run)
        thread.start()
        try:
            assert up.wait(60)
            yield f"https://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            self.server.should_exit = True
            thread.join()
            listener.close()


@pytest.fixture
def worker(tmp_path):
    models.scale(tmp_path / "models/scale.onnx")
    worker = Attested(tmp_path)
    with worker.served() as worker.url:
        yield worker


def ask(client):
    return client.infer("scale", {"x": X}).outputs["y"].tolist()


def in_a_fork(work):
    """Return what `work` returns in a forked process."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        said = b"failed"
        try:
            said = repr(work()).encode()
        finally:
            os.write(writer, said)
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said.decode()


def test_a_fork_connects_anew_and_asks_for_a_ticket_of_its_own(worker):
    with Client(worker.url, ACCEPTED, ticket=True) as client, ThreadPoolExecutor(1) as other:
        ask(client)
        mine, introduced = client._ticket.ticket, worker.introduced
        other.submit(client._lock.acquire).result()  # as a thread may have it that the fork has not
        theirs = in_a_fork(lambda: (ask(client), client._ticket.ticket))
        other.submit(client._lock.release).result()
        assert theirs.startswith("([[2.0, 4.0, 6.0, 8.0]], ")
        assert repr(mine) not in theirs
        assert worker.introduced == introduced + 1
        assert ask(client) == [[2, 4, 6, 8]]
        assert client._ticket.ticket == mine


def test_a_ticket_that_is_used_up_is_followed_by_another(worker):
    with Client(worker.url, ACCEPTED, ticket=True) as client:
        ask(client)
        first = client._ticket
        object.__setattr__(first.session, "expires", 0)
        assert ask(client) == [[2, 4, 6, 8]]
        assert client._ticket.ticket != first.ticket
