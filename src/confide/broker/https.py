"""HTTPS servers as this project runs them: uvicorn, TLS 1.3, nothing of requests in any log."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import uvicorn

from confide.broker.connection import MAX_CONNECTIONS, BoundedHttp
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


def https_server(app: Any, context: ssl.SSLContext, max_connections: int = MAX_CONNECTIONS) -> uvicorn.Server:
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
        limit_concurrency=max_connections,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)
