"""A front end of a queue as a server: TLS 1.3, on an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from confide.broker.ca import CertificateAuthority
from confide.broker.https import BoundedServer, https_server, server_tls
from confide.broker.tls import load_chain
from confide.data.atomic import atomic_file
from confide.errors import Misuse
from confide.serving.front_end import FrontEnd
from confide.serving.redis_link import RedisLink
from confide.serving.redis_queue import RedisQueue
from confide.serving.waiting import Waiting

AUTHORITY, AUTHORITY_CERTIFICATE = "front-end.pem", "front-end-ca.pem"
_RENEW_S = 24 * 3600.0
_LOOK_S = 0.5


@dataclass(frozen=True)
class OwnCertificates:
    """Certificates of an authority of the front end's own, which is kept, so that clients know it after a restart.

    Attributes:
        folder: where it is kept; `front-end-ca.pem` there is for clients.
        names: by which clients call the front end.
    """

    folder: Path
    names: Sequence[str]

    def __call__(self) -> bytes:
        """Return a private key and certificate, as one PEM."""
        kept = self.folder / AUTHORITY
        if kept.exists():
            authority = CertificateAuthority.from_pem(kept.read_bytes())
        else:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            authority = CertificateAuthority.create(int(time.time()), "confide front end authority")
            with atomic_file(kept, mode=0o600) as file:
                file.write(authority.to_pem())
        with atomic_file(self.folder / AUTHORITY_CERTIFICATE, overwrite=True) as file:
            file.write(authority.certificate_pem)
        return authority.issue_leaf(self.names, int(time.time()), called="confide front end")


@dataclass(frozen=True)
class GivenCertificate:
    """A certificate that the operator has, read again each day.

    Attributes:
        path: PEM file with private key and chain.
    """

    path: Path

    def __call__(self) -> bytes:
        """Return it.

        Raises:
            Misuse: it cannot be read.
        """
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise Misuse(f"cannot read {self.path}: {error.strerror}") from None


class FrontEndServer:
    """A front end that serves until it is told to stop.

    Args:
        link: to the queue.
        listener: bound.
        certificate: returns private key and certificate; asked again each day.
        max_waiting: requests that may wait in the queue.
        on_state: is told `listening`, and `ready` when there is a worker, too.
    """

    def __init__(
        self,
        link: RedisLink,
        listener: socket.socket,
        certificate: Callable[[], bytes],
        max_waiting: int,
        on_state: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._link, self._listener, self._max_waiting = link, listener, max_waiting
        self._certificate, self._on_state = certificate, on_state
        try:
            self._tls = server_tls(certificate())
        except OSError as error:  # SSLError is one
            raise Misuse(f"the front end's certificate: {error}") from None
        self._server: BoundedServer | None = None
        self._stopping = False

    def run(self) -> None:
        """Serve.

        Raises:
            Unreachable: the queue does not answer.
            Misuse: it would lose requests, or does not let this user do what is needed.
        """
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    def stop(self) -> None:
        """End, from whichever thread."""
        self._stopping = True
        if self._server is not None:
            self._server.should_exit = True

    async def _serve(self) -> None:
        async with self._link.connect() as redis:
            waiting = Waiting(redis, RedisQueue(redis, max_waiting=self._max_waiting))
            self._server = https_server(FrontEnd(waiting), self._tls)
            self._server.should_exit = self._stopping
            async with asyncio.TaskGroup() as tasks:
                beside = [
                    tasks.create_task(each) for each in (waiting.run(), self._renew(), self._tell(waiting))
                ]
                await self._server.serve(sockets=[self._listener])
                for task in beside:
                    task.cancel()

    async def _tell(self, waiting: Waiting) -> None:
        while self._server is None or not self._server.started:
            await asyncio.sleep(0.01)
        self._on_state("listening")
        while not waiting.ready:
            await asyncio.sleep(_LOOK_S)
        self._on_state("ready")

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEW_S)
            with contextlib.suppress(Misuse, OSError):  # what it has is good for longer
                load_chain(self._tls, self._certificate())
