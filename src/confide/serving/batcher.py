"""Adaptive micro-batching of one model: whoever waits while the model runs goes into its next run, together.

No timer: a request that finds the model idle runs as soon as the event loop has read what else has arrived. The
more that arrives meanwhile, the larger the batches become, up to a number of rows and to what fits the latency
target. Runs so short that a thread would cost more than they do happen on the event loop itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np

from confide.errors import ConfideError
from confide.serving.cost import Cost
from confide.serving.failures import Expired, ModelFailed, Overloaded
from confide.serving.runtime import Runtime
from confide.serving.tensors import Array

INLINE_S = 0.0005
"""Runs that are expected to be shorter happen on the event loop."""

Inputs: TypeAlias = Mapping[str, Array]


@dataclass(frozen=True)
class Limits:
    """Bounds of one model's queue.

    Attributes:
        max_batch: rows of one run.
        latency_s: how long one run should take at most; larger batches are not made.
        max_queue: requests that may wait.
    """

    max_batch: int = 64
    latency_s: float = 0.05
    max_queue: int = 1024


class Trace(Protocol):
    """What is told of the run that one request was in."""

    def ran(self, batch: Batch, since: float) -> None:
        """Tell of a run that has just ended, for which the request waited since that monotonic time."""
        ...


@dataclass(eq=False)
class _Waiting:
    inputs: Inputs
    rows: int
    signature: tuple[object, ...]
    expires: float | None
    answer: asyncio.Future[list[Array]]
    trace: Trace | None
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Batch:
    """What is told of a run.

    Attributes:
        rows, requests: that went into it.
        waited_s: of each request.
        seconds: of the run.
    """

    rows: int
    requests: int
    waited_s: Sequence[float]
    seconds: float


class Batcher:
    """The queue before one model, on one event loop.

    Args:
        runtime: the model.
        limits: bounds.
        batchable: whether rows of several requests may go into one run.
        cost: what runs are expected to take.
        executor: for runs that are too long for the event loop.
        observe: is told of each run.
    """

    def __init__(
        self,
        runtime: Runtime,
        limits: Limits,
        *,
        batchable: bool,
        cost: Cost,
        executor: Executor,
        observe: Callable[[Batch], None] = lambda _: None,
    ) -> None:
        self._runtime, self._limits, self._batchable = runtime, limits, batchable
        self._executor, self._observe = executor, observe
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Waiting] = deque()
        self._busy = False
        self._cost = cost
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    def submit(
        self, inputs: Inputs, expires: float | None = None, trace: Trace | None = None
    ) -> asyncio.Future[list[Array]]:
        """Have the model run on inputs that were checked; the future has its outputs.

        Args:
            inputs: name -> array.
            expires: monotonic time after which it is not worth while any more.
            trace: of the request; is told of the run.

        Raises:
            Overloaded: too many wait; says when to come again.
        """
        if len(self._queue) >= self._limits.max_queue:
            wait_s = self._cost.seconds(sum(each.rows for each in self._queue))
            raise Overloaded(f"{len(self._queue)} requests wait for this model", max(1.0, wait_s))
        answer: asyncio.Future[list[Array]] = self._loop.create_future()
        if self._closed:
            answer.set_exception(ModelFailed("the model was unloaded"))
            return answer
        rows = next(iter(inputs.values())).shape[0] if self._batchable else 1
        signature = (
            tuple((name, array.shape[1:], array.dtype) for name, array in inputs.items())
            if self._batchable
            else ()
        )
        waiting = _Waiting(inputs, rows, signature, expires, answer, trace)
        self._queue.append(waiting)
        answer.add_done_callback(lambda done: self._forget(waiting) if done.cancelled() else None)
        self._wake()
        return answer

    async def close(self) -> None:
        """Answer what waits, and take nothing more."""
        while self._queue or self._busy:
            await asyncio.sleep(0.01)
        self._closed = True

    def _forget(self, waiting: _Waiting) -> None:
        """Let go of what nobody waits for any more: its bytes are no longer counted."""
        with contextlib.suppress(ValueError):  # it runs already
            self._queue.remove(waiting)

    def _wake(self) -> None:
        if not self._busy and self._queue:
            self._busy = True
            self._loop.call_soon(self._next)

    def _next(self) -> None:
        batch = self._take()
        if not batch:
            self._busy = False
            return
        rows = sum(each.rows for each in batch)
        if self._cost.seconds(rows) <= INLINE_S:
            self._finish(batch, rows, _timed(self._runtime, [each.inputs for each in batch]))
            return
        running = self._loop.run_in_executor(
            self._executor, _timed, self._runtime, [each.inputs for each in batch]
        )
        running.add_done_callback(lambda done: self._finish(batch, rows, done.result()))

    def _take(self) -> list[_Waiting]:
        """Return the requests of the next run: the oldest, and those like it, as many as fit."""
        batch: list[_Waiting] = []
        kept: list[_Waiting] = []
        now, rows, most = time.monotonic(), 0, self._most_rows()
        while self._queue:
            each = self._queue.popleft()
            if each.answer.done():
                continue  # its client went away
            if each.expires is not None and each.expires <= now:
                each.answer.set_exception(Expired("the deadline passed while the request waited"))
            elif not batch:
                batch.append(each)
                rows = each.rows
                if not self._batchable:
                    break
            elif each.signature != batch[0].signature:
                kept.append(each)
            elif rows + each.rows > most:
                kept.append(each)
                break
            else:
                batch.append(each)
                rows += each.rows
        self._queue.extendleft(reversed(kept))
        return batch

    def _most_rows(self) -> int:
        return max(1, min(self._limits.max_batch, self._cost.rows_within(self._limits.latency_s)))

    def _finish(
        self, batch: list[_Waiting], rows: int, done: tuple[list[list[Array] | ConfideError], float]
    ) -> None:
        answers, seconds = done
        started = time.monotonic() - seconds
        told = Batch(rows, len(batch), [max(0.0, started - each.since) for each in batch], seconds)
        for waited in batch:
            if waited.trace is not None:
                waited.trace.ran(told, waited.since)
        for each, answer in zip(batch, answers, strict=True):
            if each.answer.done():
                continue
            if isinstance(answer, ConfideError):
                each.answer.set_exception(answer)
            else:
                each.answer.set_result(answer)
        self._cost.observe(rows, seconds)
        self._observe(told)
        self._busy = False
        self._wake()


def _timed(runtime: Runtime, requests: Sequence[Inputs]) -> tuple[list[list[Array] | ConfideError], float]:
    began = time.monotonic()
    answers = run_together(runtime, requests)
    return answers, time.monotonic() - began


def run_together(runtime: Runtime, requests: Sequence[Inputs]) -> list[list[Array] | ConfideError]:
    """Return the outputs of each request, or why it has none: one that fails does not fail the others."""
    if len(requests) == 1:
        return [_run_alone(runtime, requests[0])]
    names = list(requests[0])
    counts = [request[names[0]].shape[0] for request in requests]
    try:
        outputs = runtime.run(
            {name: np.concatenate([request[name] for request in requests]) for name in names}
        )
    except Exception:  # noqa: BLE001 - whatever it was, each request gets its own answer
        outputs = []
    if not outputs or any(output.ndim == 0 or output.shape[0] != sum(counts) for output in outputs):
        return [_run_alone(runtime, request) for request in requests]
    ends = np.cumsum(counts)
    return [
        [output[end - count : end] for output in outputs] for count, end in zip(counts, ends, strict=True)
    ]


def _run_alone(runtime: Runtime, request: Inputs) -> list[Array] | ConfideError:
    try:
        return runtime.run(request)
    except ConfideError as error:
        return error
    except Exception as error:  # noqa: BLE001 - the text may hold values
        return ModelFailed(type(error).__name__)
