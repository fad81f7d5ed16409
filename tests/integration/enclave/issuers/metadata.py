"""Azure's metadata service, as far as issuers ask it: what endorses the hardware report."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Metadata(ThreadingHTTPServer):
    """Answers with `vcek` (PEM) and with the TD quote that `quote(td_report)` makes; `answer` replaces any answer."""

    daemon_threads = True

    def __init__(self, vcek="", quote=None, answer=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.vcek, self.quote, self.answer = vcek, quote, answer
        self.asked = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def respond(self, method, path, headers, body):
        self.asked.append((method, path))
        if self.answer is not None:
            return self.answer
        if headers.get("Metadata") != "true":
            return 400, b'{"error": "Bad request"}'
        if (method, path) == ("GET", "/metadata/THIM/amd/certification"):
            return 200, json.dumps({"vcekCert": self.vcek, "tcbm": "0", "certificateChain": ""}).encode()
        if (method, path) == ("POST", "/acc/tdquote"):
            report = json.loads(body)["report"]
            quote = self.quote(base64.urlsafe_b64decode(report + "=" * (-len(report) % 4)))
            return 200, json.dumps({"quote": base64.urlsafe_b64encode(quote).rstrip(b"=").decode()}).encode()
        return 404, b""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self._respond("GET", b"")

    def do_POST(self):
        self._respond("POST", self.rfile.read(int(self.headers["Content-Length"])))

    def _respond(self, method, body):
        status, content = self.server.respond(method, self.path, self.headers, body)
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            if content.startswith(b"\x1f\x8b"):
                self.send_header("Content-Encoding", "gzip")
            if status in (301, 302):
                self.send_header("Location", "/metadata/THIM/amd/certification?elsewhere")
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_):
        """Say nothing."""


@contextlib.contextmanager
def serving(**settings):
    with Metadata(**settings) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
