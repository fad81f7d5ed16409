"""A server of S3's API of the tests' own: moto, on a free port."""

from __future__ import annotations

import contextlib
import http.client
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "an-id-of-the-tests",
    "AWS_SECRET_ACCESS_KEY": "a-secret-of-the-tests",
    "AWS_DEFAULT_REGION": "us-east-1",
}

_SIGNED = "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"


@dataclass(frozen=True)
class S3:
    """A running server; it takes any credentials."""

    port: int

    @property
    def environment(self) -> dict[str, str]:
        """How AWS's own tools reach it."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}"}

    def call(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Make a call as it stands, by whoever has the storage: moto does not check signatures."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Authorization": _SIGNED})
            answer = connection.getresponse()
            content = answer.read()
        assert answer.status < 300, content
        return content

    def names(self, bucket: str, prefix: str = "") -> list[str]:
        """Return the names of objects, in order."""
        found = self.call("GET", f"/{bucket}?list-type=2&prefix={prefix}").decode()
        return [name for name in re.findall(r"<Key>([^<]*)</Key>", found) if not name.endswith("/")]


@contextlib.contextmanager
def s3_server() -> Iterator[S3]:
    """Run a server for the block."""
    pytest.importorskip("moto")
    with tempfile.NamedTemporaryFile() as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 60
            while (said := re.search(r"http://127\.0\.0\.1:(\d+)", Path(log.name).read_text())) is None:
                assert server.poll() is None, Path(log.name).read_text()
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield S3(int(said[1]))
        finally:
            server.kill()
            server.wait()
