"""A server that publishes collateral as Intel's and AMD's do, or misbehaves, path by path; with TLS of its own CA."""

from __future__ import annotations

import contextlib
import datetime
import http.server
import ipaddress
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HOUR = datetime.timedelta(hours=1)


@dataclass(frozen=True)
class Answer:
    """What is sent for a path.

    Attributes:
        drip: whether the body comes a byte at a time, without an end.
        length: what it says of the body's length; None: the truth. The connection ends behind the body.
        then: what is sent from the second time on; None: the same.
        started: called when the request was read, before anything is sent.
    """

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    drip: bool = False
    length: int | None = None
    then: Answer | None = None
    started: Callable[[], None] = lambda: None

    def but(self, **changes):
        return replace(self, **changes)

    def without(self, header):
        return replace(self, headers={name: value for name, value in self.headers.items() if name != header})


class Publisher:
    """Serves `answers`, path with query -> answer, for the time of a `with` block.

    Attributes:
        asked: paths, in the order in which they were asked for.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self._ended = threading.Event()
        publisher = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                publisher.asked.append(self.path)
                answer = publisher.answers.get(self.path, Answer(b"no such path", 404))
                if answer.then is not None:
                    publisher.answers[self.path] = answer.then
                answer.started()
                with contextlib.suppress(OSError):
                    self._send(answer)
                self.close_connection = True

            def _send(self, answer: Answer) -> None:
                self.send_response_only(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if not answer.drip:
                    length = len(answer.body) if answer.length is None else answer.length
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                self.wfile.write(answer.body)
                while answer.drip and not publisher._ended.wait(0.02):
                    self.wfile.write(b" ")

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # clients that refuse the certificate

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_port
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def publish_intel(self, collateral, *, tee="tdx", fmspc=None, pccs=True) -> None:
        """Answer as a PCCS does for this collateral, or with `pccs=False` as Intel's own service."""
        fmspc, base = fmspc or collateral.fmspc, f"/{tee}/certification/v4"
        tcb_chain = {"TCB-Info-Issuer-Chain": quote(collateral.tcb_info_issuer_chain)}
        qe_chain = {"SGX-Enclave-Identity-Issuer-Chain": quote(collateral.qe_identity_issuer_chain)}
        crl_chain = {"SGX-PCK-CRL-Issuer-Chain": quote(collateral.pck_crl_issuer_chain)}
        signed = f'{{"tcbInfo":{collateral.tcb_info},"signature":"{collateral.tcb_info_signature.hex()}"}}'
        signature = collateral.qe_identity_signature.hex()
        identity = f'{{"enclaveIdentity":{collateral.qe_identity},"signature":"{signature}"}}'
        json_type = {"Content-Type": "application/json"}
        self.answers |= {
            f"{base}/tcb?fmspc={fmspc}": Answer(signed.encode(), headers=tcb_chain | json_type),
            f"{base}/qe/identity": Answer(identity.encode(), headers=qe_chain | json_type),
            f"/sgx/certification/v4/pckcrl?ca={collateral.ca}&encoding=der": Answer(
                collateral.pck_crl, headers=crl_chain | {"Content-Type": "application/pkix-crl"}
            ),
        }
        if pccs:
            self.answers["/sgx/certification/v4/rootcacrl"] = Answer(collateral.root_ca_crl.hex().encode())
        else:
            self.answers["/IntelSGXRootCA.der"] = Answer(collateral.root_ca_crl)

    def publish_amd(self, machine, crl, kind="vcek") -> None:
        """Answer as the KDS does for a machine's product: chain and CRL."""
        base = f"/{kind}/v1/{machine.product}"
        chain = b"".join(each.public_bytes(Encoding.PEM) for each in (machine.intermediate, machine.root))
        self.answers[f"{base}/cert_chain"] = Answer(chain)
        self.answers[f"{base}/crl"] = Answer(crl.public_bytes(Encoding.DER))

    def publish_chip(self, machine) -> str:
        """Answer for a machine's own key; return the path."""
        names = {"fmc": "fmc", "bootloader": "bl", "tee": "tee", "snp": "snp", "microcode": "ucode"}
        query = "&".join(f"{names[name]}SPL={version}" for name, version in machine.tcb.items())
        path = f"/vcek/v1/{machine.product}/{machine.hardware_id.hex()}?{query}"
        self.answers[path] = Answer(machine.endorsement().public_bytes(Encoding.DER))
        return path


class WebAuthority:
    """A CA for TLS."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a site's CA")])
        self.certificate = self._issue(self._name, self._key.public_key(), x509.BasicConstraints(True, None))
        self.pem = self.certificate.public_bytes(Encoding.PEM)

    def server_context(self, folder, host: str = "127.0.0.1") -> ssl.SSLContext:
        """Return TLS for a server; its key passes through a file in `folder`."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            name: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a server")])
        certificate = self._issue(subject, key.public_key(), x509.SubjectAlternativeName([name]))
        return _context(folder, key, certificate)

    @staticmethod
    def self_signed_context(folder, host: str) -> tuple[ssl.SSLContext, bytes]:
        """Return TLS of a server as the PCCS's installer leaves it, and its certificate: only a common name."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        certificate = builder.not_valid_before(now - HOUR).not_valid_after(now + HOUR).sign(key, SHA256())
        return _context(folder, key, certificate), certificate.public_bytes(Encoding.PEM)

    def _issue(self, subject, key, extension):
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder(self._name, subject, key, x509.random_serial_number())
            .not_valid_before(now - HOUR)
            .not_valid_after(now + HOUR)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .sign(self._key, SHA256())
        )


def _context(folder, key, certificate) -> ssl.SSLContext:
    file = folder / "server.pem"
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(pem + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
