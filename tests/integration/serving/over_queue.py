"""Front ends and relays of a queue, on threads of this process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from confide.broker.https import listen
from confide.serving.front_end_server import AUTHORITY_CERTIFICATE, FrontEndServer, OwnCertificates
from confide.serving.redis_link import RedisLink
from confide.serving.relay import Relay


class Front:
    """Attributes: `url`, `ca` (PEM of its authority)."""

    def __init__(self, url: str, ca: bytes) -> None:
        self.url, self.ca = url, ca


@contextlib.contextmanager
def front_end(
    link: RedisLink, folder: Path, max_waiting: int = 10_000, certificate: Callable[[], bytes] | None = None
) -> Iterator[Front]:
    listener, up = listen("127.0.0.1", 0), threading.Event()
    shown = certificate or OwnCertificates(folder, ["127.0.0.1"])
    server = FrontEndServer(link, listener, shown, max_waiting, lambda state: up.set())
    failed: list[BaseException] = []

    def run() -> None:
        try:
            server.run()
        except BaseException as error:
            failed.append(error)
            up.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        assert up.wait(30)
        if failed:
            raise failed[0]
        port = listener.getsockname()[1]
        own = folder / AUTHORITY_CERTIFICATE
        yield Front(f"https://127.0.0.1:{port}", own.read_bytes() if certificate is None else b"")
    finally:
        server.stop()
        thread.join(30)


@contextlib.contextmanager
def relay(url: str, link: RedisLink, idle_s: float = 1.0) -> Iterator[Relay]:
    running, loops, failed = Relay(url, link, idle_s), [], []

    async def run() -> None:
        loops.append(asyncio.get_running_loop())
        await running.run()

    def thread_run() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=thread_run, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        while not loops and thread.is_alive():
            thread.join(0.01)
        with contextlib.suppress(RuntimeError):
            loops[0].call_soon_threadsafe(running.stop)
        thread.join(30)
        assert not failed, failed
        assert not thread.is_alive()
