"""Which attested broker a client accepts, and the decision.

Format: docs/formats/broker-identity.md. An image pins this document, or else the broker's authority itself.
"""

from __future__ import annotations

from typing import ClassVar

from cryptography import x509

from confide.attestation.claims import Claims
from confide.attestation.requirements import INTEL
from confide.attestation.trust import HardwareTrust
from confide.broker.accepted_server import AcceptedServer, ServerKind, verify_server
from confide.broker.attested_leaf import NONCE, ROLE
from confide.errors import BrokerUntrusted

_BROKER = ServerKind("broker", ROLE, NONCE, BrokerUntrusted)


class AcceptedBroker(AcceptedServer):
    """What a broker must be."""

    called: ClassVar[str] = "accepted broker"

    def faults(self) -> list[str]:
        """Return what makes the document meaningless, or too weak where the host chooses what time it is.

        An agent judges its broker by the clock of its host, who can so show collateral of a time when Intel did not
        know of an attack yet. The number of Intel's evaluation does not go back with the clock.
        """
        faults = super().faults()
        if self.tee in INTEL and self.platform is not None and not self.platform.minimum_evaluation:
            faults.append(
                "platform: minimum_evaluation is missing: an agent's clock is its host's, who could turn it back to "
                "collateral of before an attack was known"
            )
        return faults


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
