"""Who a Spark server is: the certificate that it serves TLS with, which carries evidence, and its verification.

The same extension as in an attested broker's certificate (docs/formats/broker-identity.md). Nothing has to be asked of
the server: its certificates come with every TLS handshake, whatever is spoken inside.
"""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from confide.attestation.claims import Claims
from confide.attestation.ratls.forms import MAX_CERTIFICATE_BYTES
from confide.attestation.trust import HardwareTrust
from confide.broker.accepted_server import AcceptedServer, ServerKind, verify_server
from confide.broker.attested_leaf import evidence_extension
from confide.broker.ca import CertificateAuthority
from confide.certificates import load_certificate
from confide.enclave.attester import OwnEvidence
from confide.errors import AttestationRefused, InvalidFormat, Misuse, Unavailable

ROLE = "driver"
_NONCE = "spark server's certificate"
_KIND = ServerKind("Spark server", ROLE, _NONCE, AttestationRefused)
_PORTS = {"sc": 15002, "hive2": 10000, "https": 443}
_TIMEOUT_S = 20.0
_CHAIN = 2
_ENCODING_DER = 2


@dataclass(frozen=True)
class VerifiedServer:
    """A Spark server that is an accepted one.

    Attributes:
        claims: what its evidence says.
        authority_pem: to be pinned for TLS with it.
    """

    claims: Claims
    authority_pem: bytes


def make_chain(evidence: OwnEvidence, names: Sequence[str], now: int) -> bytes:
    """Return a new private key, a certificate with evidence, and that of its authority, as one PEM.

    Args:
        evidence: has evidence made.
        names: by which clients call the server.
        now: Unix seconds.

    Raises:
        AttestationRefused: the TEE gives no evidence.
    """
    authority = CertificateAuthority.create(now, "confide Spark server authority")

    def attest(key: Any, fingerprint: str) -> x509.UnrecognizedExtension:
        return evidence_extension(key, fingerprint, evidence.tee, evidence.attester, evidence.image, _NONCE)

    return authority.issue_leaf(names, now, attest, "confide Spark server") + authority.certificate_pem


def shown_chain(host: str, port: int) -> tuple[x509.Certificate, x509.Certificate]:
    """Return the certificate that a server shows in a TLS handshake, and its authority's; nothing of it is verified.

    Raises:
        Unavailable: nobody answers there by TLS 1.3.
        AttestationRefused: it does not show two certificates.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nobody is known yet, and nothing is sent
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, port), _TIMEOUT_S) as connection,
            context.wrap_socket(connection, server_hostname=host) as tls,
        ):
            chain = _chain(tls)
    except (OSError, ValueError) as error:
        raise Unavailable(f"{host}:{port}: {type(error).__name__}: {error}") from None
    try:
        certificates = [load_certificate(der, MAX_CERTIFICATE_BYTES) for der in chain]
    except InvalidFormat:
        raise AttestationRefused("Spark server, step 1: its certificates do not read") from None
    if len(certificates) != _CHAIN:
        raise AttestationRefused("Spark server, step 1: it shows no certificate of an authority of its own")
    return certificates[0], certificates[1]


def _chain(tls: Any) -> list[bytes]:
    if sys.version_info >= (3, 13):
        chain: list[bytes] = tls.get_unverified_chain()
        return chain
    return [
        each.public_bytes(_ENCODING_DER) for each in tls._sslobj.get_unverified_chain()
    ]  # the same, not public yet


def accepted_servers(file: Path) -> AcceptedServer:
    """Return the document in a file (`confide spark accept` writes it).

    Raises:
        Misuse: it cannot be read.
        InvalidFormat: it has faults.
    """
    try:
        return AcceptedServer.from_toml(file.read_bytes())
    except OSError as error:
        raise Misuse(f"cannot read {file}: {error.strerror}") from None


def verify_at(url: str, accepted: AcceptedServer, hardware: HardwareTrust | None = None) -> VerifiedServer:
    """Verify who answers at `sc://HOST:PORT`, `jdbc:hive2://HOST:PORT`, or, of a program's pages, `https://HOST:PORT`.

    Raises:
        Misuse: not such a URL.
        Unavailable: nobody answers there.
        AttestationRefused, PlatformRefused, CollateralUnavailable: no accepted server.
    """
    wanted = Misuse(f"not sc://HOST:PORT, jdbc:hive2://HOST:PORT or https://HOST:PORT: {url!r}")
    try:
        parts = urlsplit(url.removeprefix("jdbc:"))
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        raise wanted from None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise wanted
    leaf, authority = shown_chain(parts.hostname, port)
    return verify_spark_server(leaf, authority, accepted, hardware, int(time.time()))


def verify_spark_server(
    leaf: x509.Certificate,
    authority: x509.Certificate,
    accepted: AcceptedServer,
    hardware: HardwareTrust | None,
    now: int,
) -> VerifiedServer:
    """Verify that a Spark server is an accepted one, in the steps of `verify_server`.

    Args:
        leaf, authority: as `shown_chain` returns them; nothing in them is trusted.
        accepted: what the server must be.
        hardware: what evidence of hardware is anchored to; None: none is accepted.
        now: Unix seconds.

    Raises:
        AttestationRefused: names the step. PlatformRefused, CollateralUnavailable: their verifiers.
    """
    claims = verify_server(_KIND, leaf, authority, accepted, hardware, now)
    return VerifiedServer(claims, authority.public_bytes(Encoding.PEM))
