"""A proxy that ends TLS and keeps what passes in clear there: what an operator's front end sees."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Iterator

from confide.broker.ca import CertificateAuthority
from confide.broker.tls import load_chain


class Proxy:
    """Attributes: `url`, `ca` (its authority, PEM), `seen` (all bytes of both directions)."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        authority = CertificateAuthority.create(int(datetime.datetime.now().timestamp()))
        self.ca = authority.certificate_pem
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        load_chain(self._tls, authority.issue_leaf(["127.0.0.1"], int(datetime.datetime.now().timestamp())))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.seen = bytearray()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        plain.check_hostname, plain.verify_mode = (
            False,
            ssl.CERT_NONE,
        )  # it is the operator's: it need not care
        with contextlib.suppress(OSError):
            left = self._tls.wrap_socket(client, server_side=True)
            right = plain.wrap_socket(socket.create_connection(self._target))
            for one, other in ((left, right), (right, left)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: ssl.SSLSocket, other: ssl.SSLSocket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self.seen += data
                other.sendall(data)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()


@contextlib.contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    with contextlib.closing(Proxy(target)) as running:
        yield running
