"""A worker in this process that lacks nothing but its enclave: TLS, evidence, tickets."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from contextlib import contextmanager

import uvloop

from confide.attestation.evidence import StatedImage
from confide.broker.https import https_server, listen, server_tls
from confide.enclave.attester import OwnEvidence
from confide.enclave.simulated.issuer import SimulatedIssuer
from confide.keys.signing import generate_signing_key, raw_public
from confide.serving.configuration import Configuration
from confide.serving.identity import AcceptedServing, WorkerIdentity

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


class Attested(Worker):
    """A worker with evidence, on a thread of its own. Each has an authority of its own; one may follow another."""

    def __init__(self, folder, configuration=None):
        super().__init__(folder, configuration or Configuration())
        self.identity = self.new_identity()
        self.introduced = 0

    def new_identity(self):
        issuer = SimulatedIssuer(HOST, IMAGE)
        evidence = OwnEvidence("simulated", IMAGE, lambda runtime: issuer.issue(runtime.report_data()))
        return WorkerIdentity(evidence, ["127.0.0.1"], int(time.time()))

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
            self.tls = server_tls(self.identity.leaf(POOL, int(time.time())))
            self.server = https_server(self.app, self.tls)
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
