"""Running a broker: uvicorn with TLS 1.3 and a certificate of the broker's own authority, made at start.

The certificate's private key exists in memory only.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import uvicorn
from cryptography import x509

from confide.attestation.trust import HardwareTrust
from confide.broker.ca import Attest, CertificateAuthority, authority_id
from confide.broker.connection import BoundedHttp
from confide.broker.http import make_app
from confide.broker.introduction import introduce
from confide.broker.mesh import MeshService
from confide.broker.owner_service import OwnerService
from confide.broker.service import WorkloadService
from confide.broker.sessions import RateLimit
from confide.broker.store import Store, unix_now
from confide.broker.tls import load_chain
from confide.errors import BrokerUnavailable

RATE_PER_S = 50.0
BURST = 200
MAX_CONNECTIONS = 512
START_TIMEOUT_S = 30.0
LOCAL_NAMES = ("127.0.0.1", "localhost", "::1")


class Broker:
    """A broker over one store, bound to an address and not yet serving.

    Args:
        store: owners, keys, policies; stays open as long as the broker runs.
        host: address to listen on.
        port: 0 lets the system choose.
        names: names and addresses by which clients call it; they stand in its certificate.
        allow_simulated: whether simulated evidence is accepted; never without being asked for.
        allow_tpm: whether evidence of an enrolled TPM is, whose machine's memory is not confidential; likewise.
        hardware: what evidence of hardware is anchored to; None: it is not accepted.
        attest: gives evidence of the broker itself, for its certificate; None: it shows none.
        rate_per_s: sustained requests per second and client address (of IPv6: and network of 64 bits).
        burst: of those at once.

    Raises:
        BrokerUnavailable: the address cannot be bound.
    """

    def __init__(
        self,
        store: Store,
        *,
        host: str,
        port: int,
        names: Sequence[str],
        allow_simulated: bool,
        allow_tpm: bool = False,
        hardware: HardwareTrust | None = None,
        attest: Attest | None = None,
        rate_per_s: float = RATE_PER_S,
        burst: int = BURST,
    ) -> None:
        self._socket = _bind(host, port)
        self.port: int = self._socket.getsockname()[1]
        name = f"[{names[0]}]" if ":" in names[0] else names[0]
        self.url = f"https://{name}:{self.port}"
        authority = CertificateAuthority.of(store)
        self.ca_pem = authority.certificate_pem
        pem = authority.issue_leaf(names, unix_now(), attest)
        leaf = x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE") :])
        context = _tls(pem)
        app = make_app(
            WorkloadService(
                store,
                issuer=self.url,
                allow_simulated=allow_simulated,
                allow_tpm=allow_tpm,
                hardware=hardware,
            ),
            MeshService(store),
            OwnerService(store, names=names, authority=authority_id(self.ca_pem)),
            RateLimit(time.monotonic, rate_per_s, burst),
            lambda: introduce(self.ca_pem, leaf, hardware, unix_now()),
        )
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
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=1,
        )
        self.server = uvicorn.Server(config)

    def serve(self) -> None:
        """Serve until `server.should_exit` is set, or (in the main thread) a signal comes."""
        self.server.run(sockets=[self._socket])


class EmbeddedBroker:
    """A broker on the loopback address in a thread of its own, for the time of a `with` block.

    Attributes:
        url: where it serves, for instance `https://127.0.0.1:40123`.
        ca_pem: certificate of its authority.
    """

    def __init__(
        self,
        store: Store,
        *,
        allow_simulated: bool = False,
        allow_tpm: bool = False,
        names: Sequence[str] = LOCAL_NAMES,
        hardware: HardwareTrust | None = None,
        attest: Attest | None = None,
        rate_per_s: float = RATE_PER_S,
        burst: int = BURST,
    ) -> None:
        self._broker = Broker(
            store,
            host="127.0.0.1",
            port=0,
            names=names,
            allow_simulated=allow_simulated,
            allow_tpm=allow_tpm,
            hardware=hardware,
            attest=attest,
            rate_per_s=rate_per_s,
            burst=burst,
        )
        self.url = self._broker.url
        self.ca_pem = self._broker.ca_pem
        self._thread = threading.Thread(target=self._broker.serve, name="broker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        waited = 0.0
        pause = threading.Event()
        while not self._broker.server.started:
            if not self._thread.is_alive() or waited > START_TIMEOUT_S:
                raise BrokerUnavailable("the embedded broker did not start")
            pause.wait(0.01)
            waited += 0.01
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._broker.server.should_exit = True
        self._thread.join(START_TIMEOUT_S)


def serve_forever(
    store: Store,
    *,
    host: str,
    port: int,
    names: Sequence[str],
    allow_simulated: bool,
    allow_tpm: bool = False,
    hardware: HardwareTrust | None = None,
    attest: Attest | None = None,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve until interrupted; `on_ready` is told the URL once the address is bound. Arguments: those of `Broker`.

    Raises:
        BrokerUnavailable: the address cannot be bound.
        AttestationRefused: no evidence of the broker itself is given.
    """
    broker = Broker(
        store,
        host=host,
        port=port,
        names=names,
        allow_simulated=allow_simulated,
        allow_tpm=allow_tpm,
        hardware=hardware,
        attest=attest,
    )
    on_ready(broker.url)
    broker.serve()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Naming TCP lets asyncio switch off Nagle's delay (TCP_NODELAY), which costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise BrokerUnavailable(f"cannot listen on {host} port {port}: {error.strerror}") from None
    return listener


def _tls(pem: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # nobody resumes: every connection proves the broker's key afresh
    load_chain(context, pem)
    return context
