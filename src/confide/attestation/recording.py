"""Endorsements that are remembered as they are found, so that they can be handed on with the evidence."""

from __future__ import annotations

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Report
from confide.attestation.endorsements import Endorsements
from confide.attestation.given import GivenEndorsements
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.quote import Quote


class RecordingEndorsements:
    """Finds endorsements elsewhere.

    Args:
        found_by: where.
    """

    def __init__(self, found_by: Endorsements) -> None:
        self._found_by = found_by
        self._collaterals: list[Collateral] = []
        self._certificates: list[Certificates] = []

    @property
    def found(self) -> GivenEndorsements:
        """All that was found so far."""
        return GivenEndorsements(tuple(self._collaterals), tuple(self._certificates))

    def intel(self, quote: Quote) -> Collateral:
        """Return the collateral for a quote's platform. Raises CollateralUnavailable."""
        self._collaterals.append(collateral := self._found_by.intel(quote))
        return collateral

    def amd(self, report: Report, given: Certificates) -> Certificates:
        """Return the certificates for a report. Raises CollateralUnavailable."""
        self._certificates.append(certificates := self._found_by.amd(report, given))
        return certificates
