"""Verification of SNP reports: from AMD's root keys to what the hardware says of machine and guest. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from confide.attestation.amd.certificates import Certificates, Endorsement, endorsement_of
from confide.attestation.amd.report import (
    CHIP_ID_BYTES,
    KNOWN_POLICY,
    SIGNED_BYTES,
    PlatformBit,
    PolicyBit,
    Product,
    Report,
    SigningKey,
    parse_report,
)
from confide.attestation.amd.verify_certificates import (
    EVIDENCE,
    FETCH,
    INTERMEDIATES,
    PINNED,
    check_not_revoked,
    valid_until,
    verify_crl,
    verify_endorsement,
)
from confide.attestation.claims import Platform, Tcb
from confide.certificates import common_name
from confide.errors import CollateralUnavailable, EvidenceRefused, InvalidFormat

__all__ = ["PINNED", "VerifiedReport", "verify_report", "verify_signature"]

_REGISTERS = ("measurement", "host_data", "id_key_digest", "author_key_digest", "family_id", "image_id")
_NUMBERS = ("guest_svn", "vmpl", "policy", "platform_info", "launch_mit_vector", "current_mit_vector")
_ECDSA_P384_SHA384 = 1
_P384_BYTES = 48
_MAX_VMPL = 3


@dataclass(frozen=True)
class VerifiedReport:
    """A verified report.

    Attributes:
        report: every field of it.
        platform: what it says, by the names that policies use.
    """

    report: Report
    platform: Platform


def verify_report(
    data: bytes, certificates: Certificates, now: int, *, roots: Mapping[Product, str] = PINNED
) -> VerifiedReport:
    """Verify a report.

    1. The report reads: 1184 bytes, of a version that is known, what is reserved zero, signed by a VCEK or VLEK with
       an algorithm that is known. What a machine leaves unsigned is refused.
    2. The endorsement key's certificate names the product that the report's CPUID names (since version 3).
    3. The certificate chains to the root key that is pinned for the product: names, signatures (RSASSA-PSS, SHA-384,
       RSA 4096), no critical extension that is not understood, validity at `now`.
    4. The CRL, where one is given, is the root's and in date, and has none of the chain.
    5. The certificate is of the kind of key that the report names: VCEK or VLEK.
    6. That key signed the report: ECDSA, P-384, SHA-384; what pads the two numbers is zero.
    7. The certificate stands for the report's REPORTED_TCB, component by component.
    8. A VCEK's certificate is that of the report's chip. A machine may hide its id from reports (zeros): then the
       certificate says whose key signed. A VLEK is no chip's: behind one, what a report says of its chip counts for
       nothing.
    9. The guest policy has no unknown restriction or permission, and a guest asked for the report, not its host.

    A debug policy is not refused here: `Platform.debug` says it.

    Args:
        data: nothing in it is trusted.
        certificates: nothing in them is trusted.
        now: Unix seconds.
        roots: product -> SHA-256 (hex) of its root's certificate.

    Raises:
        EvidenceRefused: names the step.
        CollateralUnavailable: a certificate or the CRL is missing or has expired.
    """
    try:
        report = parse_report(data)
    except InvalidFormat as error:
        raise _refused(1, str(error)) from None
    if report.number("signature_algo") != _ECDSA_P384_SHA384:
        raise _refused(1, f"signature algorithm {report.number('signature_algo')} is not known")
    if report.signing_key not in INTERMEDIATES:
        raise _refused(1, "not signed by a VCEK or VLEK")
    if certificates.endorsement is None:
        way = FETCH if report.signing_key is SigningKey.VCEK else "it comes from the host alone"
        raise CollateralUnavailable(
            f"{EVIDENCE}: the certificate of the {report.signing_key.name} that signed it is missing; {way}"
        )
    try:
        endorsement = endorsement_of(certificates.endorsement)
    except InvalidFormat as error:
        raise _refused(2, str(error)) from None
    if report.number("version") > 2 and report.product is not endorsement.product:
        raise _refused(
            2, f"the report is of {report.product or 'an unknown product'}, the key of {endorsement.product}"
        )
    chain = verify_endorsement(certificates.endorsement, endorsement, certificates, now, roots=roots)
    expires = [valid_until(certificate) for certificate in chain]
    if certificates.crl is not None:
        expires.append(verify_crl(certificates.crl, chain[-1], now))
        check_not_revoked(certificates.crl, chain)
    if report.signing_key is not endorsement.kind:
        raise _refused(5, f"not signed by a {endorsement.kind.name}, as the certificate is one of")
    verify_signature(report, certificates.endorsement)
    _check_tcb(report, endorsement)
    hardware_ids = _hardware_ids(report, endorsement)
    _check_guest(report)
    platform = Platform(
        registers={name: report.octets(name).hex() for name in _REGISTERS},
        numbers={name: report.number(name) for name in _NUMBERS},
        hardware_ids=hardware_ids,
        tcb=_tcb(report, endorsement.product),
        debug=PolicyBit.DEBUG in report.policy,
        expires=min(expires),
    )
    return VerifiedReport(report, platform)


def verify_signature(report: Report, certificate: x509.Certificate) -> None:
    """Take step 6 of `verify_report`, whosoever certified the key.

    Raises:
        EvidenceRefused: step 6.
    """
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise _refused(6, "the endorsement key is not on P-384")
    r, s = report.octets("signature_r"), report.octets("signature_s")
    if any(r[_P384_BYTES:] + s[_P384_BYTES:]):
        raise _refused(6, "the signature is not padded with zeros")
    signature = encode_dss_signature(int.from_bytes(r, "little"), int.from_bytes(s, "little"))
    try:
        key.verify(signature, report.raw[:SIGNED_BYTES], ec.ECDSA(SHA384()))
    except InvalidSignature:
        why = _other_key(report, certificate)
        raise _refused(6, f"not signed by the {common_name(certificate.subject)}{why}") from None


def _other_key(report: Report, certificate: x509.Certificate) -> str:
    """Return how the key of a certificate is another one than the report's, as the report, not verified, says."""
    try:
        endorsement = endorsement_of(certificate)
    except InvalidFormat:
        return ""
    chip_id = report.octets("chip_id")
    if endorsement.hardware_id and any(chip_id) and not chip_id.startswith(endorsement.hardware_id):
        return f", which is that of another chip ({endorsement.hardware_id.hex()[:16]}…)"
    try:
        reported = report.tcb("reported_tcb", endorsement.product)
    except InvalidFormat:
        return ""
    if dict(reported) == dict(endorsement.tcb):
        return ""
    said, certified = (".".join(str(tcb[name]) for name in reported) for tcb in (reported, endorsement.tcb))
    return f", which is for TCB {certified} ({'.'.join(reported)}) where the report says {said}"


def _check_tcb(report: Report, endorsement: Endorsement) -> None:
    try:
        reported = report.tcb("reported_tcb", endorsement.product)
        for name in ("committed_tcb", "launch_tcb"):
            report.tcb(name, endorsement.product)
    except InvalidFormat as error:
        raise _refused(7, str(error)) from None
    for name, version in reported.items():
        if endorsement.tcb[name] != version:
            raise _refused(7, f"{name} {version} is reported, the key is for {endorsement.tcb[name]}")


def _hardware_ids(report: Report, endorsement: Endorsement) -> tuple[str, ...]:
    """Return the id of the chip that AMD certified; nothing where a VLEK signed.

    A VLEK is all the machines' of a provider: whoever took it from one writes any chip's id into a report.
    """
    if endorsement.kind is not SigningKey.VCEK:
        return ()
    chip_id, certified = report.octets("chip_id"), endorsement.hardware_id.ljust(CHIP_ID_BYTES, b"\0")
    if any(chip_id) and not hmac.compare_digest(chip_id, certified):
        raise _refused(8, "the key is of another chip than the report")
    return (certified.hex(),)


def _check_guest(report: Report) -> None:
    policy = report.number("policy")
    if PolicyBit.ALWAYS_ONE not in report.policy or policy & ~KNOWN_POLICY:
        raise _refused(9, f"guest policy {policy:#x} has reserved bits that are not as they must be")
    if report.number("vmpl") > _MAX_VMPL:
        raise _refused(9, "the report was not asked for by a guest")


def _tcb(report: Report, product: Product) -> Tcb:
    versions = [report.tcb(name, product) for name in ("reported_tcb", "committed_tcb", "launch_tcb")]
    lowest = {name: min(version[name] for version in versions) for name in versions[0]}
    return Tcb(product=str(product), components=lowest, smt=PlatformBit.SMT_EN in report.platform_info)


def _refused(step: int, reason: str) -> EvidenceRefused:
    return EvidenceRefused(EVIDENCE, step, reason)
