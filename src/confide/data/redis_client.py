"""A client of the Redis that a stream lies in: TLS 1.3 that verifies its certificate and name."""

from __future__ import annotations

import ssl
from typing import Any

from redis import ConnectionPool, Redis, SSLConnection

from confide.data.verified_tls import verified_tls


class _Verified(SSLConnection):
    """A connection in a context as it is: the client's own always trusts the system's authorities, too."""

    def __init__(self, *, tls: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _wrap_socket_with_ssl(self, sock: Any) -> ssl.SSLSocket:
        return self._tls.wrap_socket(sock, server_hostname=self.host)


def redis_client(
    host: str, port: int, *, user: str | None, password: str | None, authority: bytes | None
) -> Redis:
    """Return a client that connects when it is used.

    Args:
        host: of the server, by the name in its certificate.
        port: for TLS.
        user: of its ACL; None: the default one.
        password: of the user.
        authority: certificate (PEM) that the server's chains to; None: the system's authorities.

    Raises:
        Misuse: `authority` is no certificate.
    """
    tls = verified_tls(authority, "Redis")
    pool = ConnectionPool(
        connection_class=_Verified,
        tls=tls,
        host=host,
        port=port,
        username=user,
        password=password,
        protocol=2,
    )
    return Redis.from_pool(pool)
