"""Endorsements that were handed over, in files or by whoever presents evidence. Each is for some platforms only."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from cryptography import x509

from confide.attestation.amd.certificates import Certificates, endorsement_of
from confide.attestation.amd.report import Report
from confide.attestation.amd.verify import verify_signature
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.quote import Quote
from confide.certificates import common_name
from confide.errors import CollateralUnavailable, EvidenceRefused, InvalidFormat


@dataclass(frozen=True)
class GivenEndorsements:
    """Finds endorsements among those given; implements `confide.attestation.endorsements.Endorsements`.

    A report for which there is no CRL gets its certificates all the same, so that all else can be explained: whoever
    verifies it demands one. It is never taken from whoever gives the report.

    Attributes:
        collaterals: of Intel.
        keys: certificates of AMD's endorsement keys.
        chain: of AMD: intermediates and roots.
        crls: of AMD's roots.
    """

    collaterals: tuple[Collateral, ...] = ()
    keys: tuple[x509.Certificate, ...] = ()
    chain: tuple[x509.Certificate, ...] = ()
    crls: tuple[x509.CertificateRevocationList, ...] = ()

    def intel(self, quote: Quote) -> Collateral:
        """Return the collateral for a quote's platform; of another one, where no other was given.

        Raises:
            CollateralUnavailable: there is none.
        """
        wanted = (quote.tee, quote.fmspc, quote.ca)
        for collateral in self.collaterals:
            if (collateral.tee, collateral.fmspc, collateral.ca) == wanted:
                return collateral
        if self.collaterals:  # the verifier says what it is for
            return self.collaterals[0]
        raise CollateralUnavailable(
            f"no collateral for {quote.tee.upper()} on platforms {quote.fmspc} ({quote.ca} CA); "
            "`confide collateral fetch` gets it"
        )

    def amd(self, report: Report, given: Certificates) -> Certificates:
        """Return the certificates for a report, as far as there are any; what came with it counts first."""
        key = given.endorsement or self._key(report)
        issuers = {each.issuer for each in (*given.chain, *self.chain)}
        crl = next((each for each in self.crls if each.issuer in issuers), None)
        if crl is None and key is not None:
            crl = next((each for each in self.crls if _same_product(each, key)), None)
        return Certificates(key, given.chain or self.chain, crl)

    def _key(self, report: Report) -> x509.Certificate | None:
        """Return the certificate of the key that signed the report, else of its chip and TCB, else any."""
        alike = [each for each in self.keys if _could_be_of(report, each)]
        for certificate in alike:
            with contextlib.suppress(EvidenceRefused):
                verify_signature(report, certificate)
                return certificate
        return next(iter((*alike, *self.keys)), None)


def _could_be_of(report: Report, certificate: x509.Certificate) -> bool:
    try:
        endorsement = endorsement_of(certificate)
        same = endorsement.tcb == report.tcb("reported_tcb", endorsement.product)
    except InvalidFormat:
        return False
    chip = report.octets("chip_id")[: len(endorsement.hardware_id)]
    return (
        same and report.signing_key is endorsement.kind and (not any(chip) or chip == endorsement.hardware_id)
    )


def _same_product(crl: x509.CertificateRevocationList, key: x509.Certificate) -> bool:
    """Tell by the names that AMD gives: ARK-Milan issues the CRL, SEV-Milan or SEV-VLEK-Milan the key's certificate."""
    return common_name(crl.issuer).rpartition("-")[2] == common_name(key.issuer).rpartition("-")[2] != ""
