"""Certificates of a chain, in words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from confide.attestation.amd.certificates import Certificates, built_in
from confide.attestation.amd.report import Product
from confide.attestation.explain.document import Link
from confide.attestation.intel.collateral import Collateral
from confide.certificates import common_name, load_certificates
from confide.errors import InvalidFormat

_ROLES = {
    "Intel SGX PCK Certificate": "platform (PCK)",
    "Intel SGX PCK Platform CA": "authority of platforms",
    "Intel SGX PCK Processor CA": "authority of platforms",
    "Intel SGX TCB Signing": "signer of TCB info and QE identity",
    "Intel SGX Root CA": "root",
    "SEV-VCEK": "chip's endorsement key (VCEK)",
    "SEV-VLEK": "provider's endorsement key (VLEK)",
}
_MAX = 8


def links(certificates: Iterable[x509.Certificate], trusted: Iterable[str]) -> tuple[Link, ...]:
    """Return certificates in words.

    Args:
        certificates: in their order.
        trusted: SHA-256 (hex) of the roots that are trusted.
    """
    roots = frozenset(trusted)
    return tuple(_link(certificate, roots) for certificate in certificates)


def pem_links(pem: str, trusted: Iterable[str]) -> tuple[Link, ...]:
    """Return the certificates of a PEM chain in words; none where it does not read."""
    try:
        return links(load_certificates(pem.encode())[:_MAX], trusted)
    except InvalidFormat:
        return ()


def collateral_links(collateral: Collateral, trusted: Iterable[str]) -> tuple[Link, ...]:
    """Return who signed collateral."""
    return pem_links(collateral.tcb_info_issuer_chain, trusted)[:1]


def amd_links(certificates: Certificates, trusted: Mapping[Product, str]) -> tuple[Link, ...]:
    """Return the chain from an endorsement key up, as far as it is there."""
    chain = [certificates.endorsement] if certificates.endorsement else []
    available = (*certificates.chain, *built_in())
    while chain and chain[-1].subject != chain[-1].issuer and len(chain) < _MAX:
        above = next((each for each in available if each.subject == chain[-1].issuer), None)
        if above is None:
            break
        chain.append(above)
    return links(chain, trusted.values())


def _link(certificate: x509.Certificate, trusted: frozenset[str]) -> Link:
    der = certificate.public_bytes(Encoding.DER)
    digest = hashlib.sha256(der).hexdigest()
    is_root = certificate.subject == certificate.issuer
    name = common_name(certificate.subject)
    return Link(
        role=_ROLES.get(name, "root" if is_root else "authority"),
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        not_before=int(certificate.not_valid_before_utc.timestamp()),
        not_after=int(certificate.not_valid_after_utc.timestamp()),
        serial=f"{asn1.Certificate.load(der).serial_number:x}",  # `cryptography` warns of AMD's zeros
        sha256=digest,
        trusted=digest in trusted if is_root else None,
    )
