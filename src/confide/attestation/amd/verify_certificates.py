"""Verification of AMD's certificates and CRLs: from the root keys that are pinned to a chip's endorsement key. Pure.

By itself it is what decides which of them are kept; reports are verified on it. Steps are those of `verify_report`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding

from confide.attestation.amd.certificates import Certificates, Endorsement, built_in
from confide.attestation.amd.report import Product, SigningKey
from confide.certificates import common_name, is_authority, is_issued_by
from confide.errors import CollateralUnavailable, EvidenceRefused

EVIDENCE = "SNP report"
FETCH = "get it with `confide collateral fetch`"

PINNED: Mapping[Product, str] = {
    Product.MILAN: "69d063b45344d26a2e94e1f4210de49ef555308287d4c174445c95639a540bcd",
    Product.GENOA: "4c6598d19c18719c5dfd4a7d335f674e5bfe1d8f800cea2cf270c10d103db2f1",
    Product.TURIN: "1f084161a44bb6d93778a904877d4819cafa5d05ef4193b2ded9dd9c73dd3f6a",
}
"""Product -> SHA-256 of the root key's certificate (ARK, DER): the only trust there is."""

INTERMEDIATES = {SigningKey.VCEK: "SEV", SigningKey.VLEK: "SEV-VLEK"}
"""Kind of endorsement key -> what the common name of the intermediate that certifies it begins with."""

_Issued = x509.Certificate | x509.CertificateRevocationList


def verify_endorsement(
    leaf: x509.Certificate,
    endorsement: Endorsement,
    certificates: Certificates,
    now: int,
    *,
    roots: Mapping[Product, str] = PINNED,
) -> tuple[x509.Certificate, x509.Certificate, x509.Certificate]:
    """Return endorsement key's, intermediate's and root's certificate, verified: step 3.

    Args:
        leaf: certificate of the endorsement key.
        endorsement: what it says.
        certificates: intermediates and roots to choose from, besides those that are built in.
        now: Unix seconds.
        roots: product -> SHA-256 (hex) of its root's certificate.

    Raises:
        EvidenceRefused: step 3.
        CollateralUnavailable: a certificate is missing or has expired.
    """
    product = endorsement.product
    root = _root(product, certificates, roots)
    if common_name(leaf.issuer) != _intermediate_name(product, endorsement.kind):
        raise _refused(3, f"a {endorsement.kind.name} of {product} is not issued by that name")
    intermediate = _verify_intermediate(leaf.issuer, root, certificates)
    _check_critical(leaf)
    _verify_issued(3, leaf, intermediate)
    chain = leaf, intermediate, root
    for certificate in chain:
        _check_validity(certificate, now)
    return chain


def verify_authority(
    product: Product,
    kind: SigningKey,
    certificates: Certificates,
    now: int,
    *,
    roots: Mapping[Product, str] = PINNED,
) -> tuple[x509.Certificate, x509.Certificate]:
    """Return the intermediate's and the root's certificate over keys of a kind, verified as in step 3.

    Arguments and errors are those of `verify_endorsement`.
    """
    root = _root(product, certificates, roots)
    wanted = _intermediate_name(product, kind)
    names = [each.subject for each in _available(certificates) if common_name(each.subject) == wanted]
    if not names:
        raise CollateralUnavailable(f"{EVIDENCE}: the certificate of {wanted} is missing; {FETCH}")
    chain = _verify_intermediate(names[0], root, certificates), root
    for certificate in chain:
        _check_validity(certificate, now)
    return chain


def verify_crl(crl: x509.CertificateRevocationList, root: x509.Certificate, now: int) -> int:
    """Verify that a CRL is a root's and in date, and return when it expires (Unix seconds). Whom it revokes, it says.

    Raises:
        EvidenceRefused: step 4.
        CollateralUnavailable: it has expired.
    """
    if crl.issuer != root.subject:
        raise _refused(4, "the CRL is not issued in the root's name")
    _verify_issued(4, crl, root)
    if any(extension.critical for extension in crl.extensions):
        raise _refused(4, "the CRL has a critical extension, which limits what it covers")
    if crl.next_update_utc is None:
        raise _refused(4, "the CRL says not when it expires")
    if now < int(crl.last_update_utc.timestamp()):
        raise _refused(4, "the CRL is not valid yet")
    expires = int(crl.next_update_utc.timestamp())
    if now > expires:
        raise CollateralUnavailable(f"{EVIDENCE}: the CRL has expired; {FETCH}")
    return expires


def check_not_revoked(
    crl: x509.CertificateRevocationList,
    chain: tuple[x509.Certificate, x509.Certificate, x509.Certificate],
) -> None:
    """Refuse a chain with a revoked certificate. A CRL lists what the root issued, so no endorsement key.

    Raises:
        EvidenceRefused: step 4.
    """
    for certificate in chain[1:]:
        if crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
            raise _refused(4, f"the certificate of {common_name(certificate.subject)} was revoked")


def valid_until(certificate: x509.Certificate) -> int:
    """Return the last second (Unix) of a certificate's validity."""
    return int(certificate.not_valid_after_utc.timestamp())


def _available(certificates: Certificates) -> tuple[x509.Certificate, ...]:
    return (*certificates.chain, *built_in())


def _intermediate_name(product: Product, kind: SigningKey) -> str:
    return f"{INTERMEDIATES[kind]}-{product}"


def _root(product: Product, certificates: Certificates, roots: Mapping[Product, str]) -> x509.Certificate:
    pinned = roots.get(product)
    if pinned is None:
        raise _refused(3, f"no root is trusted for {product}")
    root = next((certificate for certificate in _available(certificates) if _is(certificate, pinned)), None)
    given_roots = [given for given in certificates.chain if given.subject == given.issuer]
    if given_roots and root not in given_roots:
        raise _refused(3, f"the chain's root is not the one that is trusted for {product}")
    if root is None:
        raise CollateralUnavailable(f"{EVIDENCE}: the root's certificate of {product} is missing; {FETCH}")
    return root


def _verify_intermediate(
    name: x509.Name, root: x509.Certificate, certificates: Certificates
) -> x509.Certificate:
    intermediate = next((each for each in _available(certificates) if each.subject == name), None)
    if intermediate is None:
        raise CollateralUnavailable(f"{EVIDENCE}: the intermediate certificate is missing; {FETCH}")
    if intermediate.issuer != root.subject:
        raise _refused(3, "the intermediate is not issued in the root's name")
    if not is_authority(intermediate):
        raise _refused(3, "the intermediate is no certificate authority")
    _check_critical(intermediate)
    _verify_issued(3, intermediate, root)
    return intermediate


def _check_critical(certificate: x509.Certificate) -> None:
    understood = (x509.BasicConstraints, x509.KeyUsage)
    if any(each.critical and not isinstance(each.value, understood) for each in certificate.extensions):
        raise _refused(
            3, f"the certificate of {common_name(certificate.subject)} has a critical extension, unknown here"
        )


def _verify_issued(step: int, issued: _Issued, issuer: x509.Certificate) -> None:
    """Refuse all but RSASSA-PSS with SHA-384 by a key of 4096 bits: of what X.509 allows, AMD uses that."""
    key = issuer.public_key()
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size != 4096:
        raise _refused(step, "an issuer's key is not RSA of 4096 bits")
    if not _is_pss_with_sha384(issued) or not is_issued_by(issued, issuer):
        raise _refused(step, f"not signed by {common_name(issuer.subject)}")


def _is_pss_with_sha384(issued: _Issued) -> bool:
    try:
        pss = isinstance(issued.signature_algorithm_parameters, padding.PSS)
        return pss and isinstance(issued.signature_hash_algorithm, SHA384)
    except (UnsupportedAlgorithm, ValueError, TypeError):
        return False


def _check_validity(certificate: x509.Certificate, now: int) -> None:
    name = common_name(certificate.subject)
    if now < int(certificate.not_valid_before_utc.timestamp()):
        raise _refused(3, f"the certificate of {name} is not valid yet")
    if now > valid_until(certificate):
        raise CollateralUnavailable(f"{EVIDENCE}: the certificate of {name} has expired; {FETCH}")


def _is(certificate: x509.Certificate, digest: str) -> bool:
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest() == digest


def _refused(step: int, reason: str) -> EvidenceRefused:
    return EvidenceRefused(EVIDENCE, step, reason)
