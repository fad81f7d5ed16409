"""A queue's way to ask: put inputs in under a name, fetch what came of them under that name later.

    client = Client("https://...", "iris.toml")
    requests = InputQueue(client, "iris")
    results = OutputQueue(requests)
    requests.enqueue("patient-7", x=x)
    results.query_and_delete("patient-7")   # {"y": array}, or None as long as there is nothing

What waits, waits in the client's process: it is sealed, sent, and sent again where nobody answers, as `Client.infer`
does it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import numpy as np

from confide.errors import AlreadyExists, Misuse
from confide.serving.client import TIMEOUT_S, Client
from confide.serving.failures import Overloaded
from confide.serving.tensors import Array

MAX_WAITING = 1024
WORKERS = 8

Outputs = Mapping[str, Array]


class InputQueue:
    """Takes inputs for one model.

    Args:
        client: asks.
        model: name of the model.
        version: empty: the highest.
        timeout_s: after which a request is given up, counted from when it is sent.
        max_waiting: requests that may wait, and results that may lie there.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        *,
        version: str = "",
        timeout_s: float = TIMEOUT_S,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._client, self._model, self._version = client, model, version
        self._timeout_s, self._max_waiting = timeout_s, max_waiting
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="requests")
        self._lock = threading.Lock()
        self._results: dict[str, tuple[dict[str, Any], Future[Outputs]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def enqueue(self, uri: str, **inputs: Any) -> None:
        """Put inputs in under a name; the same inputs under the same name again change nothing.

        Args:
            uri: name, by which the result is fetched.
            **inputs: input -> array, or what numpy makes one of.

        Raises:
            AlreadyExists: other inputs wait, or their result lies, under this name.
            Overloaded: too many wait; fetch results first.
        """
        if not uri or not inputs:
            raise Misuse("a name and inputs are needed")
        with self._lock:
            known = self._results.get(uri)
            if known is not None:
                if not _same(known[0], inputs):
                    raise AlreadyExists(f"{uri!r} has other inputs already")
                return
            if len(self._results) >= self._max_waiting:
                raise Overloaded(f"{len(self._results)} requests wait, or their results do")
            self._results[uri] = inputs, self._pool.submit(self._ask, inputs)

    def predict(self, timeout_s: float | None = None, **inputs: Any) -> Outputs:
        """Return the outputs for inputs, now.

        Raises:
            as `Client.infer`.
        """
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        return self._client.infer(self._model, inputs, version=self._version, timeout_s=timeout_s).outputs

    def close(self) -> None:
        """Wait for what is under way, and take nothing more."""
        self._pool.shutdown(wait=True)

    def _ask(self, inputs: dict[str, Any]) -> Outputs:
        return self.predict(**inputs)

    def _fetch(self, uri: str, *, remove: bool) -> Outputs | None:
        with self._lock:
            known = self._results.get(uri)
            if known is None or not known[1].done():
                return None
            if remove:
                del self._results[uri]
        return known[1].result()

    def _done(self) -> list[str]:
        with self._lock:
            return [uri for uri, (_, result) in self._results.items() if result.done()]


class OutputQueue:
    """Gives results.

    Args:
        requests: that they are of.
    """

    def __init__(self, requests: InputQueue) -> None:
        self._requests = requests

    def query(self, uri: str) -> Outputs | None:
        """Return the outputs under a name; None where there are none yet, or never were.

        Raises:
            as `Client.infer`: why there are none.
        """
        return self._requests._fetch(uri, remove=False)

    def query_and_delete(self, uri: str) -> Outputs | None:
        """Return the outputs under a name, and forget them.

        Raises:
            as `query`.
        """
        return self._requests._fetch(uri, remove=True)

    def dequeue(self) -> dict[str, Outputs | Exception]:
        """Return and forget all that came by now, by name: outputs, or why there are none."""
        found: dict[str, Outputs | Exception] = {}
        for uri in self._requests._done():
            try:
                outputs = self.query_and_delete(uri)
            except Exception as error:  # noqa: BLE001 - each name gets its own answer
                found[uri] = error
                continue
            if outputs is not None:
                found[uri] = outputs
        return found


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
