"""Private keys of TLS that exist in memory only."""

from __future__ import annotations

import os
import ssl


def load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    """Let `context` show a certificate: OpenSSL reads it and its private key from a descriptor without a name.

    Args:
        context: of a server or a client.
        pem: private key and certificate.
    """
    descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
