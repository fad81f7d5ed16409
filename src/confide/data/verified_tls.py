"""TLS 1.3 that verifies a server's certificate and name, for clients of what carries streams."""

from __future__ import annotations

import ssl

from confide.errors import Misuse


def verified_tls(authority: bytes | None, server: str) -> ssl.SSLContext:
    """Return the context of a client.

    Args:
        authority: certificate (PEM) that the server's chains to; None: the system's authorities.
        server: what it is, for messages.

    Raises:
        Misuse: `authority` is no certificate.
    """
    tls = ssl.create_default_context() if authority is None else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    if authority is not None:
        try:
            tls.load_verify_locations(cadata=authority.decode("ascii"))
        except (ssl.SSLError, ValueError):
            raise Misuse(f"the authority of the {server} is not a certificate in PEM form") from None
    return tls
