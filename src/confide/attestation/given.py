"""Endorsements that were handed over, in a file or by whoever presents evidence. Each is for some platforms only."""

from __future__ import annotations

from dataclasses import dataclass

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Report
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.quote import Quote
from confide.errors import CollateralUnavailable

_FETCH = "`confide collateral fetch` gets it"


@dataclass(frozen=True)
class GivenEndorsements:
    """Finds endorsements among those given.

    Attributes:
        collaterals: of Intel, at most one for a kind of platform counts: the first.
        certificates: of AMD, each with what else is known of the same chip.
    """

    collaterals: tuple[Collateral, ...] = ()
    certificates: tuple[Certificates, ...] = ()

    def intel(self, quote: Quote) -> Collateral:
        """Return the collateral for a quote's platform.

        Raises:
            CollateralUnavailable: none was given.
        """
        wanted = (quote.tee, quote.fmspc, quote.ca)
        for collateral in self.collaterals:
            if (collateral.tee, collateral.fmspc, collateral.ca) == wanted:
                return collateral
        raise CollateralUnavailable(
            f"no collateral for {quote.tee.upper()} on platforms {quote.fmspc} ({quote.ca} CA); {_FETCH}"
        )

    def amd(self, report: Report, given: Certificates) -> Certificates:
        """Return the certificates for a report: those that came with it, completed by those given here.

        Raises:
            CollateralUnavailable: no certificate of an endorsement key, or no CRL.
        """
        del report  # which key signed it, its verification tells
        for certificates in self.certificates:
            given = given.completed_by(certificates)
        for missing, what in ((given.endorsement, "certificate of the key that signed"), (given.crl, "CRL")):
            if missing is None:
                raise CollateralUnavailable(f"SNP report: no {what} was given; {_FETCH}")
        return given
