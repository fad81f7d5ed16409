"""Files of collateral: what `confide collateral fetch` writes, and other tools too.

Of Intel: the JSON of dcap-qvl's `QuoteCollateralV3`. Of AMD: certificates and a CRL in PEM form, in any order. A
certificate alone may be DER, as the KDS sends it.
"""

from __future__ import annotations

from confide.attestation.amd.certificates import MAX_CERTIFICATE_BYTES, Certificates, common_name
from confide.attestation.amd.report import Product
from confide.attestation.amd.verify_certificates import INTERMEDIATES
from confide.attestation.intel.collateral import MAX_COLLATERAL_BYTES, Collateral
from confide.broker.collateral.amd_authority import AmdAuthority
from confide.broker.collateral.amd_chip import AmdChip
from confide.broker.collateral.intel_platform import IntelPlatform
from confide.broker.collateral.item import AnyItem
from confide.errors import InvalidFormat

MAX_FILE_BYTES = MAX_COLLATERAL_BYTES

Found = tuple[AnyItem, bytes]
"""An item, and its document."""


def items_in(data: bytes) -> list[Found]:
    """Return what is in a file; nothing of it is verified.

    Raises:
        InvalidFormat: neither form, or nothing in it that could be kept.
    """
    if data.lstrip()[:1] == b"{":
        collateral = Collateral.from_json(data)
        return [(IntelPlatform.of(collateral), collateral.to_json())]
    if b"-----BEGIN " in data:
        return _amd(Certificates.from_pem(data))
    if data[:1] == b"\x30" and len(data) <= MAX_CERTIFICATE_BYTES:
        return _amd(Certificates.from_der(data))
    raise InvalidFormat("not collateral: neither JSON (Intel), nor certificates and CRL in PEM form (AMD)")


def _amd(certificates: Certificates) -> list[Found]:
    found: list[Found] = []
    if certificates.endorsement is not None:
        chip = AmdChip.certified_by(certificates.endorsement)
        found.append((chip, Certificates(certificates.endorsement, certificates.chain).to_pem()))
    if certificates.crl is not None:
        document = Certificates(None, certificates.chain, certificates.crl).to_pem()
        found += [(authority, document) for authority in _authorities(certificates)]
    if not found:
        raise InvalidFormat(
            "neither the certificate of a VCEK nor a CRL with the chain that it is over: "
            "`confide collateral fetch --product Milan --output FILE` writes one with both"
        )
    return found


def _authorities(certificates: Certificates) -> list[AmdAuthority]:
    """Return whose CRL it is: AMD publishes one for each intermediate, and all are of the same root."""
    names = {common_name(certificate.subject) for certificate in certificates.chain}
    return [
        AmdAuthority.parse(product.value, key.name.lower())
        for product in Product
        for key, prefix in INTERMEDIATES.items()
        if f"{prefix}-{product}" in names
    ]
