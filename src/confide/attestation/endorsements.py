"""Endorsements (RFC 9334): what makers of hardware say of it, and evidence is verified with."""

from __future__ import annotations

from typing import Protocol

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Report
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.quote import Quote


class Endorsements(Protocol):
    """Finds endorsements. Nothing that it is asked about was verified; nothing that it returns need be."""

    def intel(self, quote: Quote) -> Collateral:
        """Return the collateral for a quote's platform.

        Raises:
            CollateralUnavailable: there is none; and what to do about it.
        """
        ...

    def amd(self, report: Report, given: Certificates) -> Certificates:
        """Return the certificates for a report, with the CRL of its product's root.

        Args:
            report: read, and not verified.
            given: certificates that came with it, which may be none.

        Raises:
            CollateralUnavailable: the endorsement key's certificate or the CRL is not to be had; and what to do.
        """
        ...
