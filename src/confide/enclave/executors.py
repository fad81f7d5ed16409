"""The host's side of a job: runs the driver's image, and the executors that it waits for, as processes of this machine.

Nothing here is trusted: it starts images and passes on what driver and executors say openly. Who belongs to the job is
decided by the broker, and proved by each to the others.
"""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from collections.abc import Mapping
from typing import Any

from confide.broker.mesh_names import JOB, MEMBER
from confide.enclave.launch import DRIVER
from confide.enclave.run import Enclave, OnStatus, RunRequest, start
from confide.errors import ConfideError, Refused, Unavailable

GRACE_SECONDS = 10.0
"""For executors to end by themselves, then because they were asked to, then because they were killed."""
PAUSE_SECONDS = 1.0
"""Before an executor that was lost is replaced."""


def run_job(
    driver: RunRequest,
    executor: RunRequest,
    count: int,
    on_status: OnStatus = lambda _: None,
    *,
    end_alone: bool = True,
) -> int:
    """Run a driver to its end with `count` executors, and return its exit code.

    Executors that are lost are replaced, as often as there are executors, and at least three times. One that is refused
    ends the job: it would be refused again.

    Args:
        driver: with the launch parameters `executors` and `host`.
        executor: with the launch parameters `host` and `cores`.
        count: how many executors.
        on_status: as for `confide.enclave.run.run`; what executors say carries `executor`, their number.
        end_alone: executors end by themselves when their driver has; Flink's task managers would look for it a while.

    Raises:
        as `confide.enclave.run.run`, for the driver; and for an executor that was refused.
    """
    with start(driver, on_status) as enclave:
        executors = _Executors(enclave, executor, count, on_status, end_alone=end_alone)

        def told(status: Mapping[str, Any]) -> None:
            on_status(status)
            if status.get("state") == "opened":
                executors.begin(status)

        code = None
        try:
            code = enclave.wait(told)
            return code
        finally:
            executors.end()
            if code != 0 and executors.failure is not None:
                raise executors.failure


class _Executors:
    def __init__(
        self,
        driver: Enclave,
        request: RunRequest,
        count: int,
        on_status: OnStatus,
        *,
        end_alone: bool = True,
    ) -> None:
        self._last_words = ((lambda _: None,) if end_alone else ()) + (Enclave.stop, Enclave.kill)
        self._driver, self._request, self._count, self._on_status = driver, request, count, on_status
        self._numbers = itertools.count(1)
        self._left = max(3, count)  # replacements
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._running: dict[int, Enclave] = {}
        self._threads: list[threading.Thread] = []
        self.failure: ConfideError | None = None

    def begin(self, opened: Mapping[str, Any]) -> None:
        """Start the executors of a job, or of a further Spark context in it."""
        launch = {
            **self._request.launch,
            JOB: str(opened["job"]),
            DRIVER: str(opened["driver"]),
            "application": str(opened["application"]),
        }
        request = dataclasses.replace(self._request, launch=launch)
        for _ in range(self._count):
            thread = threading.Thread(target=self._keep, args=(request,), name="executor", daemon=True)
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        """Let executors end as the driver told them to; stop and then kill those that do not."""
        self._ending.set()
        for last_word in self._last_words:
            with self._lock:
                for enclave in self._running.values():
                    last_word(enclave)
            deadline = time.monotonic() + GRACE_SECONDS
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))

    def _keep(self, request: RunRequest) -> None:
        """Run one executor after the other, until one ends as the driver wished."""
        while not self._ending.is_set():
            number = next(self._numbers)
            try:
                code = self._run(request, number)
                if code == 0:
                    return
                ended = f"exit code {code}"
            except Refused as error:
                self._lost(number, f"{type(error).__name__}: {error}")
                self._fail(error)
                return
            except (ConfideError, OSError) as error:  # the machine may have no more processes, descriptors
                ended = f"{type(error).__name__}: {error}"
            if self._ending.wait(PAUSE_SECONDS):
                return
            self._lost(number, ended)
            with self._lock:
                self._left -= 1
                if self._left < 0:
                    break
        else:
            return
        self._fail(Unavailable(f"too many executors were lost, the last one ({number}) by: {ended}"))

    def _run(self, request: RunRequest, number: int) -> int:
        def told(status: Mapping[str, Any]) -> None:
            self._on_status({"executor": number, **status})

        request = dataclasses.replace(request, launch={**request.launch, MEMBER: str(number)})
        with start(request, told) as enclave:
            with self._lock:
                self._running[number] = enclave
            try:
                if self._ending.is_set():
                    return 0
                return enclave.wait(told)
            finally:
                with self._lock:
                    del self._running[number]

    def _lost(self, number: int, ended: str) -> None:
        self._on_status({"executor": number, "state": "lost", "ended": ended})
        self._driver.say(f"executor {number} ended: {ended}")

    def _fail(self, error: ConfideError) -> None:
        with self._lock:
            self.failure = self.failure or error
        self._driver.stop()
