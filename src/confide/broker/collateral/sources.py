"""Where collateral is fetched from: a server for each maker of hardware, or none."""

from __future__ import annotations

from dataclasses import dataclass

from confide.attestation.amd.kds import KDS
from confide.broker.collateral.kds import Kds
from confide.broker.collateral.pcs import PCS, Pcs
from confide.broker.collateral.web import TIMEOUT_S, tls_context


@dataclass(frozen=True)
class Sources:
    """Servers.

    Attributes:
        pcs: of Intel's; None: none is asked.
        kds: of AMD's; None: none is asked.
    """

    pcs: Pcs | None = None
    kds: Kds | None = None

    @classmethod
    def at(
        cls, pccs: str = PCS, kds: str = KDS, pccs_ca: bytes | None = None, timeout_s: float = TIMEOUT_S
    ) -> Sources:
        """Return servers by their URLs.

        Args:
            pccs: Intel's own service, or a cache of it.
            kds: AMD's own service, or a mirror of it.
            pccs_ca: certificate (PEM) of the authority that alone may certify the cache; None: the system's.
            timeout_s: for all documents that are fetched together.

        Raises:
            Misuse: not the URL of a server, or no certificate.
        """
        return cls(Pcs.at(pccs, tls_context(pccs_ca), timeout_s), Kds.at(kds, tls_context(), timeout_s))


OFFLINE = Sources()
"""Nothing is fetched; what is needed must have been imported."""
