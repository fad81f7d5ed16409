"""Traces of requests for a collector of OpenTelemetry, where the owner's configuration names one.

Of a request its model, version, form, sizes, status and times, and how many rows ran with it; never a value. The parent
is what the client says (W3C Trace Context). Source: OpenTelemetry; OTLP over HTTP.
"""

from __future__ import annotations

import time
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanKind, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from requests.adapters import HTTPAdapter

from confide.serving.batcher import Batch
from confide.serving.client_transport import client_tls
from confide.serving.configuration import TracesConfiguration

TIMEOUT_S = 10.0
"""Within that the collector takes what it is sent."""
_PARENT = TraceContextTextMapPropagator()


class Traces:
    """What is traced, sent from a thread of its own; what a collector does not take in time is lost.

    Args:
        configuration: the owner's.
    """

    def __init__(self, configuration: TracesConfiguration) -> None:
        self._session = session = requests.Session()
        session.trust_env = False
        session.adapters.clear()
        session.mount("https://", _PinnedTls(configuration.authority))
        exporter = OTLPSpanExporter(configuration.endpoint, timeout=TIMEOUT_S, session=session)
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(configuration.ratio)),
            resource=Resource({"service.name": "confide serve"}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("confide")

    def begin(self, operation: str, form: str, size: int, parent: str) -> Trace:
        """Begin to trace a request.

        Args:
            operation: that is asked for.
            form: `plain`, `sealed` or `ticket`.
            size: of the request, bytes.
            parent: header `traceparent` of the client; empty: none.
        """
        context = _PARENT.extract({"traceparent": parent}) if parent else None
        attributes: dict[str, str | int] = {"confide.form": form, "confide.request.bytes": size}
        span = self._tracer.start_span(operation, context, SpanKind.SERVER, attributes)
        return Trace(self._tracer, span)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


class Trace:
    """The trace of one request."""

    def __init__(self, tracer: Any, span: Any) -> None:
        self._tracer, self._span = tracer, span

    def ran(self, batch: Batch, since: float) -> None:
        """Tell of the run that a request was in, which has just ended.

        Args:
            batch: the run.
            since: monotonic time at which the request began to wait for it.
        """
        if not isinstance(self._span, Span):  # it is not sampled
            return
        now_ns, now = time.time_ns(), time.monotonic()
        began_ns = now_ns - int(batch.seconds * 1e9)
        within = set_span_in_context(self._span)
        queue = self._tracer.start_span("queue", within, start_time=now_ns - int((now - since) * 1e9))
        queue.end(began_ns)
        sizes = {"confide.rows": batch.rows, "confide.requests": batch.requests}
        self._tracer.start_span("batch", within, attributes=sizes, start_time=began_ns).end(now_ns)

    def end(self, status: int, size: int, model: tuple[str, str] | None) -> None:
        """End it.

        Args:
            status: of HTTP.
            size: of the reply, bytes.
            model: its name and version; None: there is none of that name.
        """
        self._span.set_attributes({"confide.status": status, "confide.reply.bytes": size})
        if model is not None:
            self._span.set_attributes({"confide.model": model[0], "confide.version": model[1]})
        self._span.end()


class _PinnedTls(HTTPAdapter):
    """TLS 1.3 with whom one authority vouches for; requests itself would trust those of browsers too."""

    def __init__(self, authority: str) -> None:
        self._tls = client_tls(authority.encode())
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        super().init_poolmanager(*arguments, ssl_context=self._tls, **more)

    def cert_verify(self, *_: Any) -> None:
        pass
