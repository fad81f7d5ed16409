"""What is counted and timed, in the form of Prometheus; names, numbers and times, never a payload."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from confide.serving.batcher import Batch

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        model = ("model", "version")
        self._requests = self._make(Counter, "requests", "Requests answered", (*model, "form", "status"))
        self._seconds = self._make(
            Histogram, "request_seconds", "From the request's arrival to its answer", model, buckets=_SECONDS
        )
        self._queued = self._make(
            Histogram, "queue_seconds", "Of a request before its run", model, buckets=_SECONDS
        )
        self._ran = self._make(Histogram, "run_seconds", "Of a run of the model", model, buckets=_SECONDS)
        self._rows = self._make(Histogram, "batch_rows", "Rows of a run", model, buckets=_ROWS)
        self._waiting = self._make(Gauge, "queue_requests", "Requests that wait", model)
        self._ready = self._make(Gauge, "model_ready", "The model is loaded and warm", model)
        self._attested = self._make(Gauge, "attested", "Evidence was accepted, and the keys are released", ())
        self._expires = self._make(
            Gauge, "release_expires_seconds", "When the owners' decision has to be made again (Unix time)", ()
        )
        self._children: dict[tuple[str, ...], Any] = {}

    def _make(self, kind: Any, name: str, text: str, labels: tuple[str, ...], **more: Any) -> Any:
        return kind(f"confide_serving_{name}", text, labels, registry=self._registry, **more)

    def request(self, model: str, version: str, form: str, status: int, seconds: float) -> None:
        """Count a request that was answered; `form` is `plain`, `sealed` or `ticket`."""
        counter = self._child("r", self._requests, model, version, form, str(status))
        counter.inc()
        self._child("s", self._seconds, model, version).observe(seconds)

    def run(self, model: str, version: str, batch: Batch) -> None:
        """Count a run of a model."""
        self._child("n", self._ran, model, version).observe(batch.seconds)
        self._child("b", self._rows, model, version).observe(batch.rows)
        queued = self._child("q", self._queued, model, version)
        for waited in batch.waited_s:
            queued.observe(waited)

    def attested(self, expires: int) -> None:
        """Note a release."""
        self._attested.set(1)
        self._expires.set(expires)

    def refused(self) -> None:
        """Note that nothing is released any more."""
        self._attested.set(0)

    def text(self, waiting: dict[tuple[str, str], int]) -> bytes:
        """Return everything, with what waits now, by model and version."""
        self._waiting.clear()
        self._ready.clear()
        for (model, version), requests in waiting.items():
            self._waiting.labels(model, version).set(requests)
            self._ready.labels(model, version).set(1)
        return bytes(generate_latest(self._registry))

    def _child(self, metric: str, parent: Any, *labels: str) -> Any:
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = parent.labels(*labels)
        return child
