"""What is counted and timed, in the form of Prometheus; names, numbers and times, never a payload.

Anybody may read it. So what a sealed and padded request hides, its rows and how it was answered, is left out unless the
owner's configuration has `detailed_metrics`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from confide.serving.batcher import Batch

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class ModelMetrics:
    """The counters of one version of a model; found once, as finding them costs more than counting.

    Args:
        requests: form and status -> counter.
        seconds, queued, ran: histograms.
        rows: the same; None: rows are not told.
    """

    def __init__(
        self, requests: Callable[[str, int], Any], seconds: Any, queued: Any, ran: Any, rows: Any
    ) -> None:
        self._find, self._requests = requests, dict[tuple[str, int], Any]()
        self._seconds, self._queued, self._ran, self._rows = seconds, queued, ran, rows

    def request(self, form: str, status: int, seconds: float) -> None:
        """Count a request that was answered; `form` is `plain`, `sealed` or `ticket`."""
        counter = self._requests.get((form, status))
        if counter is None:
            counter = self._requests[form, status] = self._find(form, status)
        counter.inc()
        self._seconds.observe(seconds)

    def run(self, batch: Batch) -> None:
        """Count a run."""
        self._ran.observe(batch.seconds)
        if self._rows is not None:
            self._rows.observe(batch.rows)
        for waited in batch.waited_s:
            self._queued.observe(waited)


class Metrics:
    """The counters of one server.

    Args:
        detailed: tell the rows of runs, and how sealed requests were answered.
    """

    def __init__(self, *, detailed: bool) -> None:
        self._detailed = detailed
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
        self._rows = (
            self._make(Histogram, "batch_rows", "Rows of a run", model, buckets=_ROWS) if detailed else None
        )
        self._waiting = self._make(Gauge, "queue_requests", "Requests that wait", model)
        self._ready = self._make(Gauge, "model_ready", "The model is loaded and warm", model)
        self._attested = self._make(Gauge, "attested", "Evidence was accepted, and the keys are released", ())
        self._expires = self._make(
            Gauge, "release_expires_seconds", "When the owners' decision has to be made again (Unix time)", ()
        )
        self._models: dict[tuple[str, str], ModelMetrics] = {}

    def _make(self, kind: Any, name: str, text: str, labels: tuple[str, ...], **more: Any) -> Any:
        return kind(f"confide_serving_{name}", text, labels, registry=self._registry, **more)

    def of(self, model: str, version: str) -> ModelMetrics:
        """Return what counts for one version of a model."""
        known = self._models.get((model, version))
        if known is None:
            known = self._models[model, version] = ModelMetrics(
                lambda form, status: self._requests.labels(
                    model, version, form, str(status) if self._detailed or form == "plain" else ""
                ),
                self._seconds.labels(model, version),
                self._queued.labels(model, version),
                self._ran.labels(model, version),
                self._rows and self._rows.labels(model, version),
            )
        return known

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
