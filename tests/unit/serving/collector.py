"""A collector of OpenTelemetry, on TLS of an authority of its own."""

from __future__ import annotations

import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from confide.broker.ca import CertificateAuthority
from confide.broker.https import server_tls


class Collector:
    """A collector of OpenTelemetry: what it was told, and the versions of TLS by which."""

    def __init__(self):
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                collector.taken.append(self.rfile.read(int(self.headers["content-length"])))
                collector.by.append((self.path, self.connection.version()))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.taken, self.by = [], []
        self.authority = CertificateAuthority.create(int(time.time()), "collector")
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = server_tls(self.authority.issue_leaf(["127.0.0.1"], int(time.time())))
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self.server.server_port}/v1/traces"

    def spans(self):
        requests = [ExportTraceServiceRequest.FromString(data) for data in self.taken]
        return [
            (span, {each.key: each.value.int_value or each.value.string_value for each in span.attributes})
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


@contextlib.contextmanager
def collecting():
    """Collect until the block ends."""
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever)
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        thread.join()
        collector.server.server_close()
