"""The certificate of a chip's own key (VCEK) and its chain, as an item. That of a VLEK comes with the report only."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from cryptography import x509

from confide.attestation.amd.certificates import Certificates, endorsement_of
from confide.attestation.amd.kds import HARDWARE_ID_BYTES, vcek_url
from confide.attestation.amd.report import CHIP_ID_BYTES, TCB_LAYOUTS, Product, Report, SigningKey
from confide.attestation.amd.verify_certificates import valid_until, verify_endorsement
from confide.attestation.intel.collateral import Part
from confide.broker.collateral.item import Roots
from confide.broker.collateral.sources import Sources
from confide.errors import CollateralUnavailable, InvalidFormat

_REMEMBERED = 1024


@dataclass(frozen=True)
class AmdChip:
    """A chip at a TCB version: the key is another one for each.

    Attributes:
        product: generation of the chip.
        hardware_id: 64 bytes, 8 of Turin.
        tcb: security version numbers, in the order of the product's components.
    """

    product: Product
    hardware_id: bytes
    tcb: tuple[int, ...]

    @classmethod
    def of(cls, report: Report, product: Product) -> AmdChip:
        """Return the chip that a report names.

        Raises:
            InvalidFormat: the machine hides it, or it is none of this product.
        """
        chip_id, tcb = report.octets("chip_id"), report.tcb("reported_tcb", product)
        vcek_url(product, chip_id, tcb)
        return cls(product, chip_id[: HARDWARE_ID_BYTES[product]], tuple(tcb.values()))

    @classmethod
    def certified_by(cls, certificate: x509.Certificate) -> AmdChip:
        """Return the chip that a certificate is for.

        Raises:
            InvalidFormat: it is not that of a VCEK.
        """
        endorsement = endorsement_of(certificate)
        if endorsement.kind is not SigningKey.VCEK:
            raise InvalidFormat("not the certificate of a VCEK")
        return cls(endorsement.product, endorsement.hardware_id, tuple(endorsement.tcb.values()))

    @classmethod
    def parse(cls, product: str, hardware_id: str, tcb: str) -> AmdChip:
        """Read product, hex, and `3.0.8.115`.

        Raises:
            InvalidFormat: no chip, and what it would look like.
        """
        try:
            kind, versions = Product(product), tuple(map(int, tcb.split(".")))
            chip_id = bytes.fromhex(hardware_id).ljust(CHIP_ID_BYTES, b"\0")
        except ValueError:
            raise InvalidFormat(f"no product, chip (hex) and TCB: {product} {hardware_id} {tcb}") from None
        names = _components(kind)
        if len(versions) != len(names):
            raise InvalidFormat(f"TCB {tcb}: of {kind} it is {'.'.join(names)}")
        vcek_url(kind, chip_id, dict(zip(names, versions, strict=True)))
        return cls(kind, chip_id[: HARDWARE_ID_BYTES[kind]], versions)

    @property
    def name(self) -> str:
        """`amd/Turin/vcek/0102030405060708/1.3.0.8.115`."""
        return f"amd/{self.product}/vcek/{self.hardware_id.hex()}/{self._tcb}"

    @property
    def title(self) -> str:
        """For people."""
        return (
            f"VCEK certificate of the {self.product} chip {self.hardware_id.hex()[:16]}… at TCB {self._tcb} "
            f"({'.'.join(_components(self.product))})"
        )

    @property
    def options(self) -> str:
        """Of `confide collateral fetch`."""
        return f"--product {self.product} --chip {self.hardware_id.hex()} --tcb {self._tcb}"

    def server(self, sources: Sources) -> str | None:
        """The KDS."""
        return None if sources.kds is None else sources.kds.base

    def fetch(self, sources: Sources) -> bytes:
        """Ask the KDS."""
        if sources.kds is None:
            raise CollateralUnavailable("nothing is fetched here")
        tcb = dict(zip(_components(self.product), self.tcb, strict=True))
        chip_id = self.hardware_id.ljust(CHIP_ID_BYTES, b"\0")
        return sources.kds.vcek(self.product, chip_id, tcb).to_pem()

    def read(self, document: bytes) -> Certificates:
        """Read a PEM bundle."""
        return _read(document)

    def parts(self, value: Certificates) -> tuple[Part, ...]:
        """The certificate."""
        leaf = _leaf(value)
        return (Part("certificate", int(leaf.not_valid_before_utc.timestamp()), valid_until(leaf)),)

    def verify(self, value: Certificates, now: int, roots: Roots) -> None:
        """Verify the chain to the root, and that it is this chip's at this TCB."""
        leaf = _leaf(value)
        try:
            found = AmdChip.certified_by(leaf)
            endorsement = endorsement_of(leaf)
        except InvalidFormat as error:
            raise CollateralUnavailable(f"this is no certificate of a VCEK: {error}") from None
        if found != self:
            raise CollateralUnavailable(f"this is the {found.title}")
        verify_endorsement(leaf, endorsement, value, now, roots=roots.amd)

    @property
    def _tcb(self) -> str:
        return ".".join(map(str, self.tcb))


@functools.lru_cache(maxsize=_REMEMBERED)
def _read(document: bytes) -> Certificates:
    return Certificates.from_pem(document)


def _components(product: Product) -> tuple[str, ...]:
    return tuple(component.name for component in TCB_LAYOUTS[product].fields)


def _leaf(value: Certificates) -> x509.Certificate:
    if value.endorsement is None:
        raise InvalidFormat("there is no certificate of a VCEK in it")
    return value.endorsement
