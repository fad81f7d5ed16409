"""Verification of certificates with evidence: the TEE that the evidence is of made the certificate's key. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512

from confide.attestation.claims import Platform
from confide.attestation.ratls.certificate import EVIDENCE, RatlsCertificate, read_certificate
from confide.attestation.ratls.forms import bound_report_data
from confide.errors import EvidenceRefused

_HASHES = {"sha256": SHA256(), "sha384": SHA384(), "sha512": SHA512()}


@dataclass(frozen=True)
class VerifiedCertificate:
    """A verified certificate.

    Attributes:
        certificate: what stands in it. That the peer holds its key is for a TLS handshake to show, with this very
            certificate.
        platform: what its evidence says.
    """

    certificate: RatlsCertificate
    platform: Platform


def verify_ratls(
    data: bytes, now: int, verify_evidence: Callable[[bytes], tuple[Platform, bytes]]
) -> VerifiedCertificate:
    """Verify a certificate.

    1. It reads (`read_certificate`).
    2. It is self-issued, and signed by its own key: ECDSA on P-256 or P-384.
    3. It is valid at `now`.
    4. Its claims, in the tagged form, name its key.
    5. The vendor's verifier accepts the evidence, in its own steps.
    6. The report data of that evidence is what the form says (`bound_report_data`): the hash of the claims or of the
       key, padded with zeros.

    A nonce among the claims is not compared with anything: `certificate.claims.nonce` tells it.

    Args:
        data: DER or PEM; nothing in it is trusted.
        now: Unix seconds.
        verify_evidence: from a quote to what it says of the platform and its 64 bytes of report data; whatever it
            raises passes through.

    Raises:
        EvidenceRefused: names the step.
    """
    certificate = read_certificate(data)
    check_certificate(certificate, now)
    platform, report_data = verify_evidence(certificate.quote)
    check_binding(certificate, report_data)
    return VerifiedCertificate(certificate, platform)


def check_certificate(certificate: RatlsCertificate, now: int) -> None:
    """Take steps 2 to 4 of `verify_ratls`.

    Raises:
        EvidenceRefused: names the step.
    """
    if not certificate.self_issued:
        raise EvidenceRefused(EVIDENCE, 2, "not self-issued")
    try:
        certificate.key.verify(certificate.signature, certificate.signed, ec.ECDSA(_HASHES[certificate.hash]))
    except InvalidSignature:
        raise EvidenceRefused(EVIDENCE, 2, "not signed by its own key") from None
    if now < certificate.not_before:
        raise EvidenceRefused(EVIDENCE, 3, f"valid only from {_iso(certificate.not_before)} on")
    if now > certificate.not_after:
        raise EvidenceRefused(EVIDENCE, 3, f"expired at {_iso(certificate.not_after)}")
    if certificate.claims is not None and not certificate.claims.name(certificate.public_key):
        raise EvidenceRefused(EVIDENCE, 4, "its claims name another key")


def check_binding(certificate: RatlsCertificate, report_data: bytes) -> None:
    """Take step 6 of `verify_ratls`.

    Args:
        certificate: that step 4 was taken for.
        report_data: 64 bytes, of the certificate's evidence, which was verified.

    Raises:
        EvidenceRefused: names the step.
    """
    expected = bound_report_data(certificate.form, certificate.key, certificate.encoded_claims)
    if not hmac.compare_digest(report_data, expected):
        raise EvidenceRefused(EVIDENCE, 6, "the evidence binds another key or other claims")


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
