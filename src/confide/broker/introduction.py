"""What a broker says of itself to whoever asks: its authority, and what its certificate's evidence is verified with.

Nothing in it is trusted, nor is the connection that it comes over: `verify_broker` decides. Format:
docs/formats/broker-identity.md.
"""

from __future__ import annotations

import itertools
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Product
from confide.attestation.amd.verify import PINNED
from confide.attestation.claims import Claims, Tee
from confide.attestation.evidence import WireModel
from confide.attestation.given import GivenEndorsements
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.roots import SGX_ROOT
from confide.attestation.recording import RecordingEndorsements
from confide.attestation.trust import HardwareTrust, Trust
from confide.attestation.verify import verify
from confide.broker.accepted_broker import AcceptedBroker, verify_broker
from confide.broker.attested_leaf import NONCE, read_extension
from confide.broker.transport import OVERALL_FACTOR, normal_url
from confide.certificates import load_certificate
from confide.errors import (
    BrokerUnavailable,
    BrokerUntrusted,
    CollateralUnavailable,
    ConfideError,
    InvalidFormat,
)

PATH = "/confide/v1/broker"
MAX_BYTES = 512 * 1024
TIMEOUT_S = 20.0

Pem = Annotated[str, Field(max_length=128 * 1024)]


class Introduction(WireModel):
    """A broker's introduction.

    Attributes:
        authority: its certificate, PEM.
        collateral: for evidence of Intel's: JSON as `Collateral.from_json` reads it.
        certificates: for evidence of AMD's: PEM.
    """

    authority: Annotated[str, Field(max_length=16 * 1024)]
    collateral: Annotated[
        tuple[Annotated[str, Field(max_length=MAX_BYTES)], ...], Field(strict=False, max_length=4)
    ] = ()
    certificates: Annotated[tuple[Pem, ...], Field(strict=False, max_length=4)] = ()

    def endorsements(self) -> GivenEndorsements:
        """Return the endorsements.

        Raises:
            InvalidFormat: one does not read.
        """
        certificates = [Certificates.from_pem(each.encode()) for each in self.certificates]
        return GivenEndorsements(
            tuple(Collateral.from_json(each.encode()) for each in self.collateral),
            tuple(each.endorsement for each in certificates if each.endorsement is not None),
            tuple(itertools.chain.from_iterable(each.chain for each in certificates)),
            tuple(each.crl for each in certificates if each.crl is not None),
        )


@dataclass(frozen=True)
class VerifiedBroker:
    """A broker that is an accepted one.

    Attributes:
        claims: what its evidence says.
        ca_pem: certificate of its authority, to be pinned from now on.
    """

    claims: Claims
    ca_pem: bytes


def introduce(
    ca_pem: bytes, leaf: x509.Certificate, hardware: HardwareTrust | None, now: int
) -> dict[str, Any]:
    """Return a broker's own introduction, with what it verifies its own evidence with, where it finds that.

    Args:
        ca_pem: certificate of its authority.
        leaf: certificate that it serves TLS with.
        hardware: where it finds endorsements.
        now: Unix seconds.
    """
    collaterals: list[Collateral] = []
    certificates: list[Certificates] = []
    if hardware is not None:
        recording = RecordingEndorsements(hardware.endorsements)
        collaterals, certificates = recording.collaterals, recording.certificates
        trust = Trust(hardware=HardwareTrust(recording, hardware.intel_root, hardware.amd_roots))
        try:
            own = read_extension(leaf)
            verify(own.attestation, tee=own.tee, nonce=NONCE, trust=trust, now=now)
        except ConfideError:
            pass  # whoever asked may know better
    return Introduction(
        authority=ca_pem.decode(),
        collateral=tuple(each.to_json().decode() for each in collaterals),
        certificates=tuple(map(_bundle, certificates)),
    ).wire()


def find_broker(
    url: str,
    accepted: AcceptedBroker,
    now: int,
    *,
    intel_root: bytes = SGX_ROOT,
    amd_roots: Mapping[Product, str] = PINNED,
) -> VerifiedBroker:
    """Ask a broker who it is, verify that it is an accepted one, and return its authority.

    Endorsements are those that the broker gives: they are signed by the makers of the hardware like any others.

    Args:
        url: `https://host:port`.
        accepted: what it must be.
        now: Unix seconds.
        intel_root: certificate (DER) that evidence of Intel's leads to.
        amd_roots: product -> SHA-256 (hex) of the certificate that evidence of AMD's leads to.

    Raises:
        Misuse: not such a URL.
        BrokerUnavailable: it does not answer, or not as a broker does.
        BrokerUntrusted, AttestationRefused, PlatformRefused, CollateralUnavailable: it is not an accepted one.
    """
    leaf_der, body = _ask(url)
    try:
        introduction = Introduction.parse(body, MAX_BYTES)
        endorsements = introduction.endorsements()
        leaf = load_certificate(leaf_der, MAX_BYTES)
        authority = load_certificate(introduction.authority.encode())
    except InvalidFormat as error:
        raise BrokerUntrusted(f"{url}: not a broker's introduction: {error}"[:300]) from None
    try:
        trust = HardwareTrust(endorsements, intel_root, amd_roots)
        claims = verify_broker(leaf, authority, accepted, trust, now)
    except CollateralUnavailable as error:
        raise CollateralUnavailable(f"{url}: evidence of the broker itself: {error}") from None
    return VerifiedBroker(claims, authority.public_bytes(Encoding.PEM))


def said_by(url: str) -> str:
    """Return the document that would accept a broker, from what it says. Nothing of it is verified.

    Raises:
        BrokerUnavailable: it does not answer, or not as a broker does.
        InvalidFormat: its certificate carries no evidence.
    """
    leaf_der, _ = _ask(url)
    own = read_extension(load_certificate(leaf_der, MAX_BYTES))
    image = own.attestation.runtime_data.image
    measurement = image.measurement if image is not None else "?"
    lines = [
        f"# What {url} says of itself; not verified. Compare it with what its operator published.",
        "version = 1",
        f'tee = "{own.tee}"',
        f'measurements = ["{measurement}"]',
    ]
    if own.tee == Tee.SIMULATED:
        lines.append('hosts = [""]  # `confide broker identity --host` on its machine prints the key')
    else:
        lines.append("# [platform]: `confide policy from-evidence` writes it")
    return "\n".join(lines) + "\n"


def pinned_authority(url: str, pin: bytes, now: int) -> bytes:
    """Return the certificate (PEM) of the authority that a broker's certificates must chain to.

    Args:
        url: `https://host:port`.
        pin: that certificate itself, or the document of an accepted broker, which is asked and verified then.
        now: Unix seconds.

    Raises:
        InvalidFormat: neither of the two.
        BrokerUnavailable, BrokerUntrusted, AttestationRefused, PlatformRefused, CollateralUnavailable: not accepted.
    """
    if is_certificate(pin):
        return pin
    return find_broker(url, AcceptedBroker.from_toml(pin), now).ca_pem


def is_certificate(pin: bytes) -> bool:
    """Return whether a pin is a certificate, and not the document of an accepted broker."""
    return b"-----BEGIN CERTIFICATE" in pin


def _ask(url: str) -> tuple[bytes, bytes]:
    """Return the certificate (DER) that is shown at an address, and the introduction that is given there.

    The connection is not verified: nobody is known yet, nothing secret is sent, and what comes is evidence.
    """
    url = normal_url(url)
    deadline = time.monotonic() + TIMEOUT_S * OVERALL_FACTOR
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            httpx.Client(verify=context, timeout=TIMEOUT_S, trust_env=False) as client,
            client.stream("GET", url + PATH) as response,
        ):
            leaf = response.extensions["network_stream"].get_extra_info("ssl_object").getpeercert(True)
            body = bytearray()
            for chunk in response.iter_raw():
                body += chunk
                if len(body) > MAX_BYTES:
                    raise BrokerUnavailable(f"{url}: answer is too large")
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(f"{url}: answer takes too long")
    except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
        raise BrokerUnavailable(f"{url}: {type(error).__name__}: {error}".rstrip(": ")) from None
    if response.status_code != httpx.codes.OK or leaf is None:
        raise BrokerUnavailable(
            f"{url}: status {response.status_code}; an older broker does not introduce itself"
        )
    return leaf, bytes(body)


def _bundle(certificates: Certificates) -> str:
    given = [certificates.endorsement, *certificates.chain, certificates.crl]
    return b"".join(each.public_bytes(Encoding.PEM) for each in given if each is not None).decode()
