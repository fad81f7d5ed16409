"""What AMD publishes about all chips of a product, as an item: the chain over their keys, and its CRL."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from cryptography import x509

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.kds import Kind
from confide.attestation.amd.report import Product, SigningKey
from confide.attestation.amd.verify_certificates import verify_authority, verify_crl
from confide.attestation.intel.collateral import Part
from confide.broker.collateral.item import Roots
from confide.broker.collateral.sources import Sources
from confide.errors import CollateralUnavailable, InvalidFormat

_REMEMBERED = 16
_KEYS = {"vcek": SigningKey.VCEK, "vlek": SigningKey.VLEK}


@dataclass(frozen=True)
class AmdAuthority:
    """The authority over endorsement keys of one product and kind.

    Attributes:
        product: generation of the chips.
        kind: `vcek` or `vlek`: AMD publishes a CRL for each.
    """

    product: Product
    kind: Kind

    @classmethod
    def parse(cls, product: str, kind: str) -> AmdAuthority:
        """Read what an option or a name says.

        Raises:
            InvalidFormat: no product and kind of key, and what they would be.
        """
        if product not in set(Product) or kind not in ("vcek", "vlek"):
            raise InvalidFormat(f"no product ({', '.join(Product)}) and kind (vcek, vlek): {product} {kind}")
        return cls(Product(product), "vcek" if kind == "vcek" else "vlek")

    @property
    def name(self) -> str:
        """`amd/Milan/vcek`."""
        return f"amd/{self.product}/{self.kind}"

    @property
    def title(self) -> str:
        """For people."""
        return f"CRL of AMD's {self.product} root over {self.kind.upper()}s"

    @property
    def options(self) -> str:
        """Of `confide collateral fetch`."""
        return f"--product {self.product}" + (" --kind vlek" if self.kind == "vlek" else "")

    def server(self, sources: Sources) -> str | None:
        """The KDS."""
        return None if sources.kds is None else sources.kds.base

    def fetch(self, sources: Sources) -> bytes:
        """Ask the KDS."""
        if sources.kds is None:
            raise CollateralUnavailable("nothing is fetched here")
        return sources.kds.authority(self.product, self.kind).to_pem()

    def read(self, document: bytes) -> Certificates:
        """Read a PEM bundle."""
        return _read(document)

    def parts(self, value: Certificates) -> tuple[Part, ...]:
        """The CRL; the certificates outlive it by decades."""
        crl = _crl(value)
        if crl.next_update_utc is None:
            raise InvalidFormat("the CRL does not say when a newer one is due")
        return (Part("CRL", int(crl.last_update_utc.timestamp()), int(crl.next_update_utc.timestamp())),)

    def verify(self, value: Certificates, now: int, roots: Roots) -> None:
        """Verify chain and CRL. A CRL that revokes the chain is good: it must be known."""
        _, root = verify_authority(self.product, _KEYS[self.kind], value, now, roots=roots.amd)
        verify_crl(_crl(value), root, now)


@functools.lru_cache(maxsize=_REMEMBERED)
def _read(document: bytes) -> Certificates:
    return Certificates.from_pem(document)


def _crl(value: Certificates) -> x509.CertificateRevocationList:
    if value.crl is None:
        raise InvalidFormat("there is no CRL in it")
    return value.crl
