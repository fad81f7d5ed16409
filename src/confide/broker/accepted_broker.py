"""Which attested broker a client accepts, and the decision.

Format: docs/formats/broker-identity.md. An image pins this document, or else the broker's authority itself.
"""

from __future__ import annotations

from typing import ClassVar

from cryptography import x509

from confide.attestation.claims import Claims
from confide.attestation.trust import HardwareTrust
from confide.broker.accepted_server import AcceptedServer, ServerKind, verify_server
from confide.broker.attested_leaf import NONCE, ROLE
from confide.errors import BrokerUntrusted

_BROKER = ServerKind("broker", ROLE, NONCE, BrokerUntrusted)


class AcceptedBroker(AcceptedServer):
    """What a broker must be."""

    called: ClassVar[str] = "accepted broker"


def verify_broker(
    leaf: x509.Certificate,
    authority: x509.Certificate,
    accepted: AcceptedBroker,
    hardware: HardwareTrust,
    now: int,
) -> Claims:
    """Verify that a broker is an accepted one, and that `authority` is its own: the steps of `verify_server`.

    Raises:
        BrokerUntrusted: names the step. AttestationRefused, PlatformRefused, CollateralUnavailable: their verifiers.
    """
    return verify_server(_BROKER, leaf, authority, accepted, hardware, now)
