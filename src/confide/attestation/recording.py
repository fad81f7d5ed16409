"""Endorsements that are remembered as they are found, so that they can be handed on with the evidence."""

from __future__ import annotations

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Report
from confide.attestation.endorsements import Endorsements
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.quote import Quote


class RecordingEndorsements:
    """Finds endorsements elsewhere.

    Args:
        found_by: where.

    Attributes:
        collaterals: that were found so far.
        certificates: that were.
    """

    def __init__(self, found_by: Endorsements) -> None:
        self._found_by = found_by
        self.collaterals: list[Collateral] = []
        self.certificates: list[Certificates] = []

    def intel(self, quote: Quote) -> Collateral:
        """Return the collateral for a quote's platform. Raises CollateralUnavailable."""
        self.collaterals.append(collateral := self._found_by.intel(quote))
        return collateral

    def amd(self, report: Report, given: Certificates) -> Certificates:
        """Return the certificates for a report. Raises CollateralUnavailable."""
        self.certificates.append(certificates := self._found_by.amd(report, given))
        return certificates
