"""Private keys of TLS that exist in memory only."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

_ENCLAVE_MEMORY = "/tmp"  # noqa: S108 - under Gramine: a file system in the memory of this one process


def load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """Let `context` show a certificate: OpenSSL reads it and its private key from memory.

    Args:
        context: of a server or a client.
        pem: private key and certificate.
    """
    with _in_memory(pem) as path:
        context.load_cert_chain(path)


@contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """Yield a path by which this process reads the content: of a descriptor without a name, if there can be one."""
    descriptor = _nameless()
    if descriptor is None:
        with tempfile.NamedTemporaryFile(dir=_ENCLAVE_MEMORY) as file:
            file.write(content)
            file.flush()
            yield file.name
        return
    try:
        os.write(descriptor, content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _nameless() -> int | None:
    """Open a file in memory that has no name; None under Gramine, which has none. A variable alone makes no file."""
    try:
        return os.memfd_create("tls", os.MFD_CLOEXEC)
    except OSError:
        if os.environ.get("CONFIDE_LIBOS") != "gramine":
            raise
        return None
