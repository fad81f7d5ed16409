"""Files of collateral, as items: what `confide collateral fetch` writes, and what makers' services send."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from cryptography import x509

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Product, SigningKey
from confide.attestation.amd.verify_certificates import INTERMEDIATES
from confide.attestation.given import GivenEndorsements
from confide.attestation.recognize.endorsements import read_endorsements
from confide.broker.collateral.amd_authority import AmdAuthority
from confide.broker.collateral.amd_chip import AmdChip
from confide.broker.collateral.intel_platform import IntelPlatform
from confide.broker.collateral.item import AnyItem
from confide.certificates import common_name
from confide.errors import InvalidFormat, Misuse


@dataclass(frozen=True)
class Found:
    """An item that was found.

    Attributes:
        item: what it is.
        document: not verified.
        source: where it was.
    """

    item: AnyItem
    document: bytes = field(repr=False)
    source: str


def items_in(files: Iterable[tuple[str, bytes]]) -> list[Found]:
    """Return what is in files, which are put together; nothing of it is verified.

    Args:
        files: name, for messages, and content.

    Raises:
        InvalidFormat: a file is no collateral, or nothing in them can be kept.
    """
    named = list(files)
    read = read_endorsements(named)
    source = ", ".join(name for name, _ in named)
    found = [
        Found(item, document, source)
        for item, document in (*_intel(read), *_chips(read), *_authorities(read))
    ]
    if found:
        return found
    if read.crls:
        raise InvalidFormat(
            "a CRL of AMD's alone does not say over which keys it is: give the file of the chain with it, as from "
            "https://kdsintf.amd.com/vcek/v1/Milan/cert_chain"
        )
    if read.keys:
        raise InvalidFormat(
            "the certificate of a VLEK is not kept: it comes with every report that the VLEK signed"
        )
    if read.chain:
        raise InvalidFormat(
            "AMD's certificates of root and intermediate alone are not kept: give the CRL of that root with them, as "
            "from https://kdsintf.amd.com/vcek/v1/Milan/crl"
        )
    raise InvalidFormat(
        "nothing in it can be kept: neither Intel's collateral, nor a VCEK's certificate, nor AMD's CRL"
    )


def _intel(read: GivenEndorsements) -> Iterator[tuple[AnyItem, bytes]]:
    for collateral in read.collaterals:
        yield IntelPlatform.of(collateral), collateral.to_json()


def _chips(read: GivenEndorsements) -> Iterator[tuple[AnyItem, bytes]]:
    for key in read.keys:
        if common_name(key.subject) != f"SEV-{SigningKey.VCEK.name}":
            continue
        chip = AmdChip.certified_by(key)
        yield chip, Certificates(key, _chain(read, chip.product, SigningKey.VCEK)).to_pem()


def _authorities(read: GivenEndorsements) -> Iterator[tuple[AnyItem, bytes]]:
    """Yield every authority with the CRL of its root: a CRL is over all that its issuer issued (RFC 5280, 5.2.5)."""
    for crl in sorted(read.crls, key=lambda each: each.last_update_utc):
        for product in Product:
            if common_name(crl.issuer) != f"ARK-{product}":
                continue
            for kind, prefix in INTERMEDIATES.items():
                chain = _chain(read, product, kind)
                if any(common_name(each.subject) == f"{prefix}-{product}" for each in chain):
                    authority = AmdAuthority.parse(product.value, kind.name.lower())
                    yield authority, Certificates(None, chain, crl).to_pem()


def _chain(read: GivenEndorsements, product: Product, kind: SigningKey) -> tuple[x509.Certificate, ...]:
    names = (f"{INTERMEDIATES[kind]}-{product}", f"ARK-{product}")
    return tuple(each for each in read.chain if common_name(each.subject) in names)


def one_file(found: Iterable[Found]) -> bytes:
    """Return the file that `items_in` reads: JSON of Intel's collateral, or a PEM bundle of all that is of AMD.

    Raises:
        Misuse: collateral of several platforms, or of both makers.
    """
    intel: list[bytes] = []
    bundle = Certificates()
    for each in found:
        if isinstance(each.item, IntelPlatform):
            intel.append(each.document)
            continue
        part = Certificates.from_pem(each.document)
        chain = (*bundle.chain, *(other for other in part.chain if other not in bundle.chain))
        bundle = replace(bundle.completed_by(part), chain=chain)
    if len(intel) + (bundle != Certificates()) != 1:
        raise Misuse("a file has collateral of one platform: give one of --fmspc and --product for each")
    return intel[0] if intel else bundle.to_pem()
