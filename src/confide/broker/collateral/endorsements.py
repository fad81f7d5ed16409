"""Endorsements for a broker's verifiers: what evidence needs, found in the cache or fetched."""

from __future__ import annotations

from confide.attestation.amd.certificates import Certificates, endorsement_of
from confide.attestation.amd.kds import Kind
from confide.attestation.amd.report import Product, Report, SigningKey
from confide.attestation.amd.verify import verify_signature
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.pck_chain import check_pck_chain
from confide.attestation.intel.quote import Quote
from confide.broker.collateral.amd_authority import AmdAuthority
from confide.broker.collateral.amd_chip import AmdChip
from confide.broker.collateral.finder import Finder
from confide.broker.collateral.intel_platform import IntelPlatform
from confide.broker.collateral.item import Roots
from confide.errors import CollateralUnavailable, EvidenceRefused, InvalidFormat

_KINDS: dict[SigningKey, Kind] = {SigningKey.VCEK: "vcek", SigningKey.VLEK: "vlek"}
_BEFORE_CPUID = (Product.MILAN, Product.GENOA)
"""Products whose reports may be of version 2, which does not say the product."""
_EVIDENCE = "SNP report"
_NOT_WITH_IT = "SNP report: the certificate of the {} that signed it did not come with it"
_HAVE_IT_SENT = (
    "have the host pass its certificates on to guests (extended guest request; `auxblob` of configfs-tsm), "
    "and the guest send them"
)


class FoundEndorsements:
    """Implements `confide.attestation.endorsements.Endorsements`.

    Args:
        finder: finds items.
        roots: what platforms must lead to before anything is fetched for them.
    """

    def __init__(self, finder: Finder, roots: Roots | None = None) -> None:
        self._finder = finder
        self._roots = Roots() if roots is None else roots

    def intel(self, quote: Quote) -> Collateral:
        """Return the collateral for a quote's platform.

        Raises:
            CollateralUnavailable: there is none; and what to do about it.
            EvidenceRefused: there is none, and Intel does not vouch for this platform.
        """
        return self._finder.find(
            IntelPlatform.of(quote), lambda: check_pck_chain(quote, root_der=self._roots.intel)
        )

    def amd(self, report: Report, given: Certificates) -> Certificates:
        """Return the certificates for a report, with the CRL, which is never taken from whoever gives the report.

        Raises:
            CollateralUnavailable: the certificate or the CRL is not to be had; and what to do about it.
            EvidenceRefused: no certificate could be that of a key which signed this report.
        """
        kind = None if report.signing_key is None else _KINDS.get(report.signing_key)
        if kind is None:
            raise EvidenceRefused(_EVIDENCE, 1, "not signed by a VCEK or VLEK")
        if given.endorsement is None:
            if kind == "vlek":
                raise CollateralUnavailable(
                    f"{_NOT_WITH_IT.format('VLEK')}, and AMD gives it to the cloud provider alone: {_HAVE_IT_SENT}"
                )
            given = given.completed_by(self._chip(report))
        if given.endorsement is None:
            raise CollateralUnavailable("SNP report: the certificate of the VCEK that signed it is missing")
        try:
            product = endorsement_of(given.endorsement).product
        except InvalidFormat as error:
            raise EvidenceRefused(_EVIDENCE, 2, str(error)) from None
        authority = self._finder.find(AmdAuthority(product, kind))
        return Certificates(given.endorsement, given.chain or authority.chain, authority.crl)

    def _chip(self, report: Report) -> Certificates:
        """Return the certificate of the chip that a report names."""
        product = report.product
        if product is None and report.number("version") > 2:
            raise EvidenceRefused(_EVIDENCE, 2, "of a product that is not known here")
        if not any(report.octets("chip_id")):
            raise CollateralUnavailable(
                f"{_NOT_WITH_IT.format('VCEK')}, and the machine hides its chip id (mask chip id), by which AMD's KDS "
                f"is asked: {_HAVE_IT_SENT}"
            )
        if product is not None:
            return self._find_chip(report, product)
        failures = []
        for candidate in _BEFORE_CPUID:
            try:
                return self._find_chip(report, candidate)
            except CollateralUnavailable as error:
                failures.append(str(error))
        raise CollateralUnavailable(
            f"{failures[0]}. A report of version 2 does not say its product, so it may be `--product Genoa` as well"
        )

    def _find_chip(self, report: Report, product: Product) -> Certificates:
        """Return the certificate of a report's chip; fetched, it is kept only if its key signed the report.

        AMD has one for each chip and each TCB version that anybody may write into a report.
        """

        def check_signed(found: Certificates) -> None:
            if found.endorsement is not None:
                verify_signature(report, found.endorsement)

        return self._finder.find(_chip(report, product), before_keeping=check_signed)


def _chip(report: Report, product: Product) -> AmdChip:
    try:
        return AmdChip.of(report, product)
    except InvalidFormat as error:
        raise EvidenceRefused(_EVIDENCE, 8, str(error)) from None
