"""Servers of Spark run by the profile itself, in a thread; only the enclave around them is missing."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyspark.sql.connect.session import SparkSession

from confide.attestation.evidence import StatedImage
from confide.broker.accepted_server import AcceptedServer
from confide.broker.release import Release, ReleasedKey
from confide.enclave.attester import OwnEvidence
from confide.enclave.profile import Context
from confide.enclave.simulated.issuer import SimulatedIssuer
from confide.errors import ConfideError
from confide.keys.names import KeyName
from confide.keys.signing import generate_signing_key, raw_public
from confide.spark.client import VerifiedChannel
from confide.spark.profile import SparkProfile
from confide.spark.server_identity import verify_at
from confide.spark.tokens import token

HOST, MEASUREMENT, KEY = generate_signing_key(), "ab" * 32, "clinic/analysts"
READY_S = 120


def accepted(**changed) -> AcceptedServer:
    key = base64.b64encode(raw_public(HOST.public_key())).decode()
    document = {"version": 1, "tee": "simulated", "measurements": (MEASUREMENT,), "hosts": (key,)}
    return AcceptedServer.model_validate(document | changed)


def release(*versions: int) -> Release:
    secrets = {str(n): base64.b64encode(bytes([n]) * 32).decode() for n in versions}
    keys = {KEY: ReleasedKey(current=max(versions), versions=secrets)}
    return Release(workload="a", owners=("clinic",), keys=keys, grants=(), requests=KEY, expires=2**40)


def token_of(version: int) -> str:
    return token(release(version).keyset().key(KeyName.parse(KEY)), version)


@dataclass
class Server:
    """A running server, and what its broker would release now."""

    url: str = ""
    now: Release | ConfideError = field(default_factory=lambda: release(1))
    asked: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    error: BaseException | None = None
    log: Path = Path()
    sessions: list[SparkSession] = field(default_factory=list)

    def renew(self) -> Release:
        self.asked.set()
        if isinstance(self.now, ConfideError):
            raise self.now
        return self.now

    def session(self, given: str | None = None, **changed: Any) -> SparkSession:
        channel = VerifiedChannel(self.url, changed.pop("accepted", accepted()), given or token_of(1))
        self.sessions.append(SparkSession.builder.channelBuilder(channel).create())
        return self.sessions[-1]


@contextlib.contextmanager
def serving(
    profile: SparkProfile, make_context: Callable[..., Context], folder: Path, text: str
) -> Iterator[Server]:
    """Run a server in a thread until the block ends."""
    server, ready = Server(log=folder / "log"), threading.Event()
    context = make_context(text)
    program = folder / "analysts.toml"
    program.write_text(text)

    def tell(state: str, **details: Any) -> None:
        if state == "ready":
            server.url = details["url"]
            ready.set()

    image = StatedImage(measurement=MEASUREMENT, role="driver", svn=0)
    issuer = SimulatedIssuer(HOST, image)
    output = os.open(server.log, os.O_WRONLY | os.O_CREAT)
    java: list[Any] = []

    def start(program: Any) -> Any:
        java.append(context.start(program))
        return java[0]

    served = dataclasses.replace(
        context,
        image=context.image.model_copy(update={"program": str(program), "settings": {}}),
        release=release(1),
        output=output,
        evidence=OwnEvidence("simulated", image, lambda runtime: issuer.issue(runtime.report_data())),
        tell=tell,
        renew=server.renew,
        start=start,
    )

    def run() -> None:
        try:
            profile.run(served)
        except BaseException as error:
            server.error = error
        server.ended.set()
        ready.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert ready.wait(READY_S)
        assert server.url, f"{server.error}\n{server.log.read_text()}"
        yield server
    finally:
        for session in server.sessions:
            session.stop()  # a client goes on asking a server that is gone
        for each in java:
            each.close_stdin()
        thread.join(READY_S)
        os.close(output)


def authority(server: Server) -> bytes:
    return verify_at(server.url, accepted()).authority_pem
