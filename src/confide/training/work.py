"""What a collective gives back at once: a handle to wait on, and the thread that does the work meanwhile."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch.futures import Future

from confide.errors import ConfideError, Unavailable
from confide.training.rendezvous import first_line

_NO_TIMEOUT = timedelta(0)


class SealedWork(dist.Work):  # type: ignore[misc]
    """Work under way.

    Args:
        result: tensors that it leaves.
    """

    def __init__(self, result: Any) -> None:
        super().__init__()
        self._result = result
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._raw: Future[Any] = Future()

        def checked(future: Future[Any]) -> Any:
            if self._error is not None:
                raise self._error
            return future.value()

        # Its error is one that C++ sees, which `Future.set_exception` would not make.
        self._future = self._raw.then(checked)

    def end(self, error: BaseException | None = None) -> None:
        """Say that it is done, or why it failed."""
        self._error = error
        self._done.set()
        self._raw.set_result(self._result)

    def wait(self, timeout: timedelta = _NO_TIMEOUT) -> bool:
        """Wait for the end.

        Raises:
            Unavailable: not within the time.
            Tampered, Unavailable, Misuse: it failed.
        """
        if not self._done.wait(timeout.total_seconds() if timeout > _NO_TIMEOUT else None):
            raise Unavailable(f"not done within {timeout}")
        if self._error is not None:
            raise self._error
        return True

    def is_completed(self) -> bool:
        """Return whether it ended."""
        return self._done.is_set()

    def is_success(self) -> bool:
        """Return whether it ended well."""
        return self._done.is_set() and self._error is None

    def exception(self) -> BaseException | None:
        """Return why it failed."""
        return self._error

    def result(self) -> Any:
        """Return what it leaves."""
        self.wait()
        return self._result

    def get_future(self) -> Any:
        """Return a future of what it leaves, as DDP asks for one."""
        return self._future


class SealedMessage(dist.Work):  # type: ignore[misc]
    """A message between two ranks, under way.

    Args:
        work: gloo's.
        finish: called once with the other rank, when somebody waits: opens what came.
        other: the other rank; None: whoever sends.
    """

    def __init__(self, work: Any, finish: Callable[[int], None], other: int | None) -> None:
        super().__init__()
        self._work, self._finish, self._other = work, finish, other
        self._lock, self._ended = threading.Lock(), False
        self._error: ConfideError | None = None

    def wait(self, timeout: timedelta = _NO_TIMEOUT) -> bool:  # noqa: ARG002 - gloo's own holds
        """Wait until it is sent, or received and opened. Raises as `SealedWork.wait`."""
        with self._lock:
            if not self._ended:
                try:
                    self._end()
                except ConfideError as error:
                    self._error = error
                self._ended = True
        if self._error is not None:
            raise self._error
        return True

    def _end(self) -> None:
        if self._other is None:
            try:
                self._work.wait()
            except RuntimeError as error:
                raise Unavailable(f"a message of any rank: {first_line(error)}") from None
            self._other = self._work._source_rank()
        self._finish(self._other)

    def is_completed(self) -> bool:
        """Return whether it is sent or received."""
        return bool(self._work.is_completed())

    def _source_rank(self) -> int:
        self.wait()
        assert self._other is not None
        return self._other


class Worker:
    """A thread that does one piece of work after the other, until one fails; then none.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._queue: queue.SimpleQueue[tuple[Callable[[], None], SealedWork] | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, action: Callable[[], None], result: Any) -> SealedWork:
        """Have it done after all that was asked for before."""
        work = SealedWork(result)
        self._queue.put((action, work))
        return work

    def stop(self, seconds: float) -> None:
        """End the thread once it has done what was asked for; return after `seconds` in any case."""
        self._queue.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            action, work = item
            if self._failure is None:
                try:
                    action()
                except BaseException as error:  # noqa: BLE001 - whoever waits gets it
                    self._failure = error
            work.end(self._failure)
