"""Certificates of the keys that sign SNP reports, their chains, and the CRLs over those: read, and not verified.

An endorsement key is a chip's own (VCEK, from AMD's KDS) or one that AMD lends to a cloud provider (VLEK). An
intermediate certifies it (ASK over VCEKs, ASVK over VLEKs), and AMD's root key (ARK) the intermediate.

Source: Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification (AMD 57230), section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Self, TypeVar

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives.serialization import Encoding

from confide.attestation.amd.kds import HARDWARE_ID_BYTES
from confide.attestation.amd.report import TCB_LAYOUTS, Product, SigningKey
from confide.certificates import (
    MAX_CRL_BYTES,
    check_count,
    common_name,
    load_certificate,
    load_certificates,
    load_crl,
)
from confide.errors import InvalidFormat

_AMD = "1.3.6.1.4.1.3704.1"
_PRODUCT_NAME, _HARDWARE_ID, _CSP_ID = f"{_AMD}.2", f"{_AMD}.4", f"{_AMD}.5"
_SVN = {
    "bootloader": f"{_AMD}.3.1",
    "tee": f"{_AMD}.3.2",
    "snp": f"{_AMD}.3.3",
    "microcode": f"{_AMD}.3.8",
    "fmc": f"{_AMD}.3.9",
}
_KINDS = {"SEV-VCEK": SigningKey.VCEK, "SEV-VLEK": SigningKey.VLEK}
_PRODUCTS = {product.value: product for product in Product} | {
    "Bergamo": Product.GENOA,
    "Siena": Product.GENOA,
}
_T = TypeVar("_T")


@dataclass(frozen=True)
class Endorsement:
    """What AMD says of an endorsement key in its certificate.

    Attributes:
        kind: VCEK or VLEK.
        product: generation of the chip.
        tcb: component -> version that the key stands for.
        hardware_id: of the chip, 64 bytes, 8 of Turin; empty in a VLEK.
        provider: cloud provider that a VLEK was lent to; empty in a VCEK.
    """

    kind: SigningKey
    product: Product
    tcb: Mapping[str, int]
    hardware_id: bytes
    provider: str


@dataclass(frozen=True)
class Certificates:
    """What a report is verified with; everything was read, nothing verified.

    Attributes:
        endorsement: certificate of the key that signed the report; None where it is not known yet.
        chain: intermediates and roots, in any order; those of AMD that are built in complete them.
        crl: of the root over the intermediates; None: revocation is not checked, which whoever asks for a verification
            must have decided.
    """

    endorsement: x509.Certificate | None = None
    chain: tuple[x509.Certificate, ...] = ()
    crl: x509.CertificateRevocationList | None = None

    @classmethod
    def from_der(cls, endorsement: bytes, chain: tuple[bytes, ...] = (), crl: bytes | None = None) -> Self:
        """Read single certificates and a CRL, each DER or PEM.

        Raises:
            InvalidFormat: one is too large or of another form, or there are more than 12.
        """
        check_count(len(chain) + 1)
        return cls(
            load_certificate(endorsement),
            tuple(map(load_certificate, chain)),
            None if crl is None else load_crl(crl),
        )

    @classmethod
    def from_pem(cls, bundle: bytes) -> Self:
        """Read a PEM bundle: certificates in any order, at most one of an endorsement key, at most one CRL.

        Raises:
            InvalidFormat: more than 128 KiB or 12 certificates, no certificate at all, or not of this form.
        """
        found = load_certificates(bundle)
        endorsements = [certificate for certificate in found if common_name(certificate.subject) in _KINDS]
        crls = bundle.count(b"-----BEGIN X509 CRL-----")
        if len(endorsements) > 1 or crls > 1:
            raise InvalidFormat("PEM bundle: more than one endorsement key certificate, or more than one CRL")
        return cls(
            endorsements[0] if endorsements else None,
            tuple(certificate for certificate in found if certificate not in endorsements),
            load_crl(bundle[bundle.index(b"-----BEGIN X509 CRL-----") :][:MAX_CRL_BYTES]) if crls else None,
        )

    @classmethod
    def named(cls, certificates: Mapping[str, bytes], kind: SigningKey) -> Self:
        """Read certificates by the names of a host's certificate table: `VCEK`, `VLEK`, `ASK` (an ASVK too), `ARK`.

        Args:
            certificates: name -> DER or PEM; hosts may pass along those of both kinds of key.
            kind: key that signed the report.

        Raises:
            InvalidFormat: one is not of its form.
        """
        endorsement = certificates.get(kind.name)
        chain = [certificates[name] for name in ("ASK", "ARK") if name in certificates]
        return cls(
            None if endorsement is None else load_certificate(endorsement),
            tuple(map(load_certificate, chain)),
        )

    def to_pem(self) -> bytes:
        """Return the bundle that `from_pem` reads."""
        parts = (self.endorsement, *self.chain, self.crl)
        return b"".join(part.public_bytes(Encoding.PEM) for part in parts if part is not None)

    def completed_by(self, others: Certificates) -> Certificates:
        """Return these with what they lack taken from others."""
        return replace(
            self,
            endorsement=self.endorsement or others.endorsement,
            chain=self.chain or others.chain,
            crl=others.crl if self.crl is None else self.crl,  # an empty one is false
        )


def endorsement_of(certificate: x509.Certificate) -> Endorsement:
    """Return what an endorsement key's certificate says.

    Raises:
        InvalidFormat: it is not one of an endorsement key, or of one that is not known here.
    """
    kind = _KINDS.get(common_name(certificate.subject))
    if kind is None:
        raise InvalidFormat("not the certificate of a VCEK or VLEK")
    extensions = {
        extension.oid.dotted_string: extension.value.value
        for extension in certificate.extensions
        if isinstance(extension.value, x509.UnrecognizedExtension)
    }
    product = _PRODUCTS.get(_decoded(extensions, _PRODUCT_NAME, _text).split("-")[0])
    if product is None:
        raise InvalidFormat("certificate of a product that is not known here")
    names = [component.name for component in TCB_LAYOUTS[product].fields]
    if ("fmc" in names) != (_SVN["fmc"] in extensions):
        raise InvalidFormat(f"certificate with other TCB components than those of {product}")
    hardware_id = extensions.get(_HARDWARE_ID, b"")
    if len(hardware_id) != (HARDWARE_ID_BYTES[product] if kind is SigningKey.VCEK else 0):
        raise InvalidFormat(f"{kind.name} certificate with a hardware id of {len(hardware_id)} bytes")
    if hardware_id and not any(hardware_id):
        raise InvalidFormat("VCEK certificate of no chip: its hardware id is zero")
    if (kind is SigningKey.VLEK) != (_CSP_ID in extensions):
        raise InvalidFormat(f"{kind.name} certificate with or without a provider")
    return Endorsement(
        kind,
        product,
        {name: _decoded(extensions, _SVN[name], _svn) for name in names},
        hardware_id,
        _decoded(extensions, _CSP_ID, _text) if kind is SigningKey.VLEK else "",
    )


@cache
def built_in() -> tuple[x509.Certificate, ...]:
    """Return AMD's certificates that come with this package: ASK, ASVK and ARK of every product."""
    roots = resources.files("confide.attestation.amd") / "roots"
    bundles = ((roots / f"{product.name.lower()}.pem").read_bytes() for product in Product)
    return tuple(certificate for bundle in bundles for certificate in Certificates.from_pem(bundle).chain)


def _decoded(extensions: Mapping[str, bytes], oid: str, decode: Callable[[bytes], _T]) -> _T:
    try:
        return decode(extensions[oid])
    except KeyError:
        raise InvalidFormat(f"certificate without extension {oid}") from None
    except ValueError as error:
        raise InvalidFormat(f"certificate extension {oid}: {error}") from None


def _svn(der: bytes) -> int:
    number = asn1.decode_der(int, der)
    if not 0 <= number <= 255:
        raise ValueError("not a security version number")
    return number


def _text(der: bytes) -> str:
    return asn1.decode_der(asn1.IA5String, der).as_str()
