"""HTTPS servers as this project runs them: uvicorn, TLS 1.3, nothing of requests in any log."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import uvicorn

from confide.broker.acceptor import Acceptor
from confide.broker.connection import BoundedHttp
from confide.broker.tls import load_chain
from confide.errors import Unavailable


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 lets the system choose.

    Raises:
        Unavailable: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Naming TCP lets asyncio switch off Nagle's delay (TCP_NODELAY), which costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise Unavailable(f"cannot listen on {host} port {port}: {error}") from None
    return listener


def server_tls(pem: bytes) -> ssl.SSLContext:
    """Return a context of TLS 1.3 for a server.

    Args:
        pem: private key and certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # nobody resumes: every connection proves the server's key afresh
    load_chain(context, pem)
    return context


class BoundedServer(uvicorn.Server):
    """uvicorn's server, whose connections are counted before their handshake is done."""

    servers: list[Any]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve on sockets that are bound."""
        assert self.config.ssl is not None
        servers = [Acceptor(each, self._protocol, self.config.ssl) for each in sockets or ()]
        await super().startup(sockets=[])  # says that it has started
        self.servers = servers

    def _protocol(self) -> BoundedHttp:
        return BoundedHttp(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def https_server(app: Any, context: ssl.SSLContext) -> BoundedServer:
    """Return a server of an ASGI application, not running yet."""
    config = uvicorn.Config(
        app,
        ssl_context_factory=lambda *_: context,
        http=BoundedHttp,
        loop="uvloop",
        ws="none",
        lifespan="off",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_config=None,
        log_level="critical",  # lower levels show paths and peers
        timeout_keep_alive=15,
        timeout_graceful_shutdown=1,
    )
    return BoundedServer(config)
