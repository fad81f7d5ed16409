"""Verification of collateral by itself: what is cached, and what quotes are verified with, is what Intel published.

dcap-qvl verifies collateral again with each quote, but accepts TCB info signed by any certificate below the root. Those
of platforms are such certificates, and a platform whose key was extracted could vouch for itself. Here it must be the
certificate of Intel's signer of TCB info.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from confide.attestation.intel.collateral import MAX_COLLATERAL_BYTES, Collateral, Part
from confide.attestation.intel.roots import SGX_ROOT
from confide.certificates import common_name, is_issued_by, load_certificate, load_certificates, load_crl
from confide.errors import CollateralUnavailable, EvidenceRefused, InvalidFormat

EVIDENCE = "Intel collateral"
_TCB_SIGNER = "Intel SGX TCB Signing"
_CAS = {"platform": "Intel SGX PCK Platform CA", "processor": "Intel SGX PCK Processor CA"}
_MAX_CHAIN = 4
_REMEMBERED = 256
"""Collaterals whose signatures need not be checked again; of about 20 KB each."""


def verify_collateral(collateral: Collateral, now: int, *, root_der: bytes | None = None) -> None:
    """Verify everything in a collateral that can be verified without a quote.

    1. The root signed the root's CRL.
    2. The authority of the platforms' certificates is a CA, certified by the root and not revoked.
    3. It signed the PCK CRL.
    4. Intel's signer of TCB info is certified by the root and not revoked; it signed the TCB info.
    5. So for the QE identity.
    6. `now` is within the validity of every part of it, and of these certificates.

    The first certificate of each chain is verified against the pinned root; a root within the chain is not looked at.
    Steps 1 to 5 do not depend on `now`: what passed them once is remembered.

    Args:
        collateral: nothing in it is trusted.
        now: Unix seconds.
        root_der: certificate (DER) to lead to instead of Intel's, in tests.

    Raises:
        EvidenceRefused: names the step, 1 to 5.
        CollateralUnavailable: step 6, and what to do about it.
    """
    certificates = _verify_signatures(collateral, SGX_ROOT if root_der is None else root_der)
    for part in (*collateral.parts, *certificates):
        if now < part.issued:
            raise CollateralUnavailable(
                f"the {part.name} of the collateral was issued at {_iso(part.issued)}, later than now; is the "
                "clock right?"
            )
        if now >= part.expires:
            raise CollateralUnavailable(
                f"the {part.name} of the collateral expired at {_iso(part.expires)}; `confide collateral fetch` "
                "gets what is valid now"
            )


@lru_cache(maxsize=_REMEMBERED)
def _verify_signatures(collateral: Collateral, root_der: bytes) -> tuple[Part, ...]:
    """Return the certificates that it takes, once steps 1 to 5 are passed."""
    with _step(1, "root"):
        root = load_certificate(root_der)
        if root.issuer.public_bytes() != root.subject.public_bytes():  # dcap-qvl would end the whole process
            raise ValueError("is not its own issuer")
    revoked = _crl(1, "root CA CRL", collateral.root_ca_crl, root)
    with _step(2, "PCK CRL issuer chain"):
        ca = _signer(collateral.pck_crl_issuer_chain, _CAS[collateral.ca], root, revoked, is_ca=True)
    _crl(3, "PCK CRL", collateral.pck_crl, ca)
    with _step(4, "TCB info issuer chain"):
        tcb_signer = _signer(collateral.tcb_info_issuer_chain, _TCB_SIGNER, root, revoked, is_ca=False)
    with _step(4, "TCB info"):
        _check_signature(tcb_signer, collateral.tcb_info, collateral.tcb_info_signature)
    with _step(5, "QE identity issuer chain"):
        qe_signer = _signer(collateral.qe_identity_issuer_chain, _TCB_SIGNER, root, revoked, is_ca=False)
    with _step(5, "QE identity"):
        _check_signature(qe_signer, collateral.qe_identity, collateral.qe_identity_signature)
    return tuple(_certificate_part(certificate) for certificate in (root, ca, tcb_signer, qe_signer))


def _crl(step: int, name: str, data: bytes, issuer: x509.Certificate) -> x509.CertificateRevocationList:
    with _step(step, name):
        crl = load_crl(data, MAX_COLLATERAL_BYTES)
        if not is_issued_by(crl, issuer):
            raise ValueError("is not signed by its authority")
        return crl


def _signer(
    chain: str, name: str, root: x509.Certificate, revoked: x509.CertificateRevocationList, *, is_ca: bool
) -> x509.Certificate:
    """Return the first certificate of a chain: one of this common name that the root vouches for, whenever that is."""
    certificates = load_certificates(chain.encode())
    if len(certificates) > _MAX_CHAIN:
        raise ValueError(f"has {len(certificates)} certificates")
    first = certificates[0]
    both_valid = max(first.not_valid_before_utc, root.not_valid_before_utc)
    verifier = (
        PolicyBuilder()
        .store(Store([root]))
        .time(both_valid.replace(tzinfo=None))
        .max_chain_depth(0)
        .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=_usage(is_ca=is_ca))
        .build_client_verifier()
    )
    verifier.verify(first, [])
    if common_name(first.subject) != name:
        raise ValueError(f"is not that of {name}")
    if revoked.get_revoked_certificate_by_serial_number(first.serial_number) is not None:
        raise ValueError(f"the certificate of {name} is revoked")
    return first


def _usage(*, is_ca: bool) -> ExtensionPolicy:
    """Demand of a signer that it is a CA which signs CRLs, or that it is none and signs documents."""

    def constraints(_: Policy, __: x509.Certificate, extension: x509.BasicConstraints) -> None:
        if extension.ca != is_ca:
            raise ValueError("is a CA" if extension.ca else "is not a CA")

    def usage(_: Policy, __: x509.Certificate, extension: x509.KeyUsage) -> None:
        if not (extension.crl_sign if is_ca else extension.digital_signature):
            raise ValueError("is for another use")

    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.CRITICAL, constraints)
        .require_present(x509.KeyUsage, Criticality.CRITICAL, usage)
    )


def _check_signature(signer: x509.Certificate, document: str, signature: bytes) -> None:
    if len(signature) != 64:
        raise ValueError("its signature is not r and s of 32 bytes each")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    _key(signer).verify(encode_dss_signature(r, s), document.encode(), ECDSA(SHA256()))


def _key(certificate: x509.Certificate) -> EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey):
        raise ValueError("is not on a curve")  # noqa: TRY004 - as all of `_step`
    return key


def _certificate_part(certificate: x509.Certificate) -> Part:
    return Part(
        f"certificate of {common_name(certificate.subject)}",
        int(certificate.not_valid_before_utc.timestamp()),
        int(certificate.not_valid_after_utc.timestamp()) + 1,  # RFC 5280: valid through that second
    )


@contextmanager
def _step(step: int, name: str) -> Iterator[None]:
    try:
        yield
    except InvalidSignature:
        raise _refused(step, f"{name}: is not signed by Intel") from None
    except VerificationError as error:
        raise _refused(step, f"{name}: does not lead to the pinned root: {error}"[:300]) from None
    except (ValueError, InvalidFormat) as error:
        raise _refused(step, f"{name}: {error}"[:300]) from None


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _refused(step: int, reason: str) -> EvidenceRefused:
    return EvidenceRefused(EVIDENCE, step, reason)
