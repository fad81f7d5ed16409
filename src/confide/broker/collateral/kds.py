"""AMD's Key Distribution Service, and mirrors of it: certificates of chips, their chains, CRLs.

Nothing that is fetched here is verified here.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.kds import Kind, chain_url, crl_url, vcek_url
from confide.attestation.amd.report import Product
from confide.broker.collateral.web import TIMEOUT_S, Wanted, base_url, download
from confide.certificates import (
    MAX_BUNDLE_BYTES,
    MAX_CERTIFICATE_BYTES,
    MAX_CRL_BYTES,
    load_certificate,
    load_crl,
)
from confide.errors import CollateralUnavailable, InvalidFormat


@dataclass(frozen=True)
class Kds:
    """A server that publishes AMD's certificates.

    Attributes:
        base: URL in front of `/vcek/v1/` and `/vlek/v1/`.
        tls: how the server is verified.
        timeout_s: for all documents that are fetched together.
    """

    base: str
    tls: ssl.SSLContext
    timeout_s: float = TIMEOUT_S

    @classmethod
    def at(cls, url: str, tls: ssl.SSLContext, timeout_s: float = TIMEOUT_S) -> Kds:
        """Return the server at a URL.

        Raises:
            Misuse: not the URL of a server.
        """
        return cls(base_url(url), tls, timeout_s)

    def authority(self, product: Product, kind: Kind) -> Certificates:
        """Fetch intermediate and root over a product's keys of one kind, with the CRL over the intermediate.

        Raises:
            CollateralUnavailable: the server does not answer, in time, as itself, with documents of the right form.
        """
        wanted = {
            "chain": Wanted(chain_url(product, kind, self.base), MAX_BUNDLE_BYTES),
            "crl": Wanted(crl_url(product, kind, self.base), MAX_CRL_BYTES),
        }
        found = download(wanted, self.tls, self.timeout_s)
        try:
            chain = Certificates.from_pem(found["chain"].body).chain
            return Certificates(None, chain, load_crl(found["crl"].body))
        except InvalidFormat as error:
            raise CollateralUnavailable(f"{self.base}, chain and CRL over {kind}s: {error}") from None

    def vcek(self, product: Product, chip_id: bytes, tcb: Mapping[str, int]) -> Certificates:
        """Fetch the certificate of a chip's own key, with its chain. Arguments: those of `vcek_url`.

        Raises:
            InvalidFormat: the chip has no address there.
            CollateralUnavailable: as of `authority`.
        """
        wanted = {
            "vcek": Wanted(vcek_url(product, chip_id, tcb, self.base), MAX_CERTIFICATE_BYTES),
            "chain": Wanted(chain_url(product, "vcek", self.base), MAX_BUNDLE_BYTES),
        }
        found = download(wanted, self.tls, self.timeout_s)
        try:
            chain = Certificates.from_pem(found["chain"].body).chain
            return Certificates(load_certificate(found["vcek"].body), chain)
        except InvalidFormat as error:
            raise CollateralUnavailable(f"{wanted['vcek'].url}, and its chain: {error}") from None
