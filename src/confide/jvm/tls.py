"""TLS 1.3 of Python's end of the gateway, with certificates that the run made."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from confide.enclave.libos import inside_libos


class _CallbackContext(ssl.SSLContext):
    """Leaves the handshake to the connection's own thread.

    Py4J would do it in the thread that accepts, where a peer that fails it ends the callback server.
    """

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        return super().wrap_socket(*args, **{**kwargs, "do_handshake_on_connect": False})


def tls_contexts(secret: Mapping[str, str]) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the contexts for connections to the JVM and for its calls back.

    Args:
        secret: the `driver` secret: `key`, `certificate` and `peer` (PEM).
    """
    client = _context(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), secret)
    return client, _context(_CallbackContext(ssl.PROTOCOL_TLS_SERVER), secret)


def _context(context: ssl.SSLContext, secret: Mapping[str, str]) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=secret["peer"])
    with _file_in_memory((secret["key"] + secret["certificate"]).encode()) as path:
        context.load_cert_chain(path)  # it takes only a file
    return context


@contextmanager
def _file_in_memory(content: bytes) -> Iterator[str]:
    """Yield the path of a file that lies in this process's memory."""
    if inside_libos():  # which gives each process a /tmp of its own, in memory, and no nameless files
        with tempfile.NamedTemporaryFile(dir="/tmp") as named:
            named.write(content)
            named.flush()
            yield named.name
        return
    fd = os.memfd_create("driver", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(content)
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
