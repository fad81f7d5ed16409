"""The host's side of a pool: worker enclaves of one image, each with its relay to the queue, and perhaps a front end.

Nothing here is trusted: keys are released to each worker by its own attestation, and what passes is sealed.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Mapping
from typing import Any

import uvloop

from confide.enclave.run import Enclave, OnStatus, RunRequest, start
from confide.errors import ConfideError, Refused, Unavailable
from confide.serving.front_end_server import FrontEndServer
from confide.serving.redis_link import FRONT_END, WORKER, RedisLink, check
from confide.serving.relay import Relay

GRACE_S = 15.0
"""For relays to have answered what they took, then for enclaves to end, then for them to be killed."""
PAUSE_S, MAX_PAUSE_S = 1.0, 60.0
"""Before a worker that ended is replaced; longer from time to time."""


class Pool:
    """Worker enclaves, their relays, and a front end.

    Args:
        request: one worker's.
        workers: how many.
        link: to the queue.
        front_end: serves too; None: there is none here.
        on_status: as for `confide.enclave.run.run`; what workers say carries `worker`, their number.
    """

    def __init__(
        self,
        request: RunRequest | None,
        workers: int,
        link: RedisLink,
        front_end: FrontEndServer | None,
        on_status: OnStatus = lambda _: None,
    ) -> None:
        self._request, self._workers, self._link = request, workers, link
        self._front_end, self._on_status = front_end, on_status
        self._lock = threading.Lock()
        self._ending, self._stopped = threading.Event(), threading.Event()
        self._running: dict[int, tuple[Enclave, _RelayThread | None]] = {}
        self._threads: list[threading.Thread] = []
        self._failure: BaseException | None = None
        self._was_ready = False

    def run(self) -> None:
        """Run until interrupted (KeyboardInterrupt), or until something fails for good.

        Workers that end are replaced, however often. One that is refused ends the pool, as it would be refused again,
        and so does one that ends before any was ready.

        Raises:
            as `confide.enclave.run.run` for a worker, and as `FrontEndServer.run`.
        """
        try:
            needed = [*(FRONT_END if self._front_end else ()), *(WORKER if self._workers else ())]
            asyncio.run(check(self._link, needed))
            if self._front_end is not None:
                self._start(self._serve_front_end)
            for number in range(1, self._workers + 1):
                self._start(self._keep, number)
            self._stopped.wait()
        finally:
            self._end()
        if self._failure is not None:
            raise self._failure

    def _start(self, work: Any, *given: int) -> None:
        thread = threading.Thread(target=self._guarded, args=(work, *given), daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guarded(self, work: Any, *given: int) -> None:
        try:
            work(*given)
        except BaseException as error:  # noqa: BLE001 - whatever it was ends the pool, and is told there
            self._fail(error)

    def _serve_front_end(self) -> None:
        assert self._front_end is not None
        self._front_end.run()
        self._stopped.set()

    def _keep(self, number: int) -> None:
        """Run one worker after the other."""
        pause_s = PAUSE_S
        assert self._request is not None
        while not self._ending.is_set():
            began = time.monotonic()
            try:
                self._run(self._request, number)
                ended = "it ended"
            except Refused:
                raise
            except (ConfideError, OSError) as error:
                if not self._was_ready:
                    raise
                ended = f"{type(error).__name__}: {error}"
            if self._ending.is_set():
                return
            self._on_status({"worker": number, "state": "lost", "ended": ended})
            pause_s = PAUSE_S if time.monotonic() - began > MAX_PAUSE_S else min(2 * pause_s, MAX_PAUSE_S)
            self._ending.wait(pause_s)

    def _run(self, request: RunRequest, number: int) -> None:
        def told(status: Mapping[str, Any]) -> None:
            self._on_status({"worker": number, **status})
            if status.get("state") == "ready":
                self._was_ready = True
                with self._lock:
                    relay = _RelayThread(str(status["url"]), self._link, enclave)
                    self._running[number] = (enclave, relay)

        with start(request, told) as enclave:
            with self._lock:
                self._running[number] = (enclave, None)
            try:
                if not self._ending.is_set():
                    enclave.wait(told)
            finally:
                with self._lock:
                    relay = self._running.pop(number)[1]
                if relay is not None:
                    relay.stop()
                    relay.join(GRACE_S)
        if relay is not None and relay.failure is not None:
            raise Unavailable(f"its relay: {relay.failure}")

    def _end(self) -> None:
        self._ending.set()
        if self._front_end is not None:
            self._front_end.stop()
        with self._lock:
            relays = [relay for _, relay in self._running.values() if relay is not None]
        for relay in relays:
            relay.stop()
        _join(relays)
        for last_word in (Enclave.stop, Enclave.kill):
            with self._lock:
                for enclave, _ in self._running.values():
                    last_word(enclave)
            _join(self._threads)

    def _fail(self, error: BaseException) -> None:
        with self._lock:
            self._failure = self._failure or error
        self._stopped.set()


class _RelayThread(threading.Thread):
    """A relay on an event loop of its own; where it fails, its worker ends too."""

    def __init__(self, url: str, link: RedisLink, enclave: Enclave) -> None:
        super().__init__(name="relay", daemon=True)
        self._relay, self._enclave = Relay(url, link), enclave
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Relay."""
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                self._loop = runner.get_loop()
                runner.run(self._relay.run())
        except BaseException as error:  # noqa: BLE001 - told with the end of its worker
            self.failure = error
            self._enclave.stop()

    def stop(self) -> None:
        """Take no more requests, and end when those that were taken are answered."""
        with contextlib.suppress(RuntimeError):  # it has ended
            if self._loop is None:
                self._relay.stop()
            else:
                self._loop.call_soon_threadsafe(self._relay.stop)


def _join(threads: list[Any]) -> None:
    deadline = time.monotonic() + GRACE_S
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
