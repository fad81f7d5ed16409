"""Mesh certificates (X.509): what members of one job show each other. Format: docs/formats/mesh.md.

Each job has an authority of its own, which vouches for nothing else: no certificate of a member passes in another job,
nor for a broker's. So an engine that can only be told which authority to trust trusts exactly the job.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from confide.broker.ca import SKEW, CertificateAuthority, key_usage
from confide.broker.release import Release
from confide.canonical import canonical_json, sha256_hex
from confide.certificates import load_request
from confide.errors import InvalidFormat

_URI = re.compile(
    r"spiffe://(?P<domain>[0-9a-f]{64})/job/(?P<job>[0-9a-f]{32})/role/(?P<role>[a-z0-9][a-z0-9-]{0,31})"
)


@dataclass(frozen=True)
class Member:
    """Who a mesh certificate is for.

    Attributes:
        domain: `authority_id` of the broker, 64 hex digits.
        job: 32 hex digits (`job_of`).
        role: role in the workload.
    """

    domain: str
    job: str
    role: str

    @property
    def uri(self) -> str:
        """The name in the certificate (a SPIFFE ID)."""
        return f"spiffe://{self.domain}/job/{self.job}/role/{self.role}"

    @property
    def host(self) -> str:
        """The same as a DNS name, for TLS clients that verify one; no resolver knows it."""
        return f"{self.role}.{self.job}.confide.internal"

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Member:
        """Return who a certificate is for; that its chain verifies is for others to see to.

        Raises:
            InvalidFormat: not a mesh certificate: not exactly one URI, or another one.
        """
        try:
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            (uri,) = names.get_values_for_type(x509.UniformResourceIdentifier)
        except (x509.ExtensionNotFound, ValueError):
            raise InvalidFormat("not a mesh certificate: it does not name one URI") from None
        match = _URI.fullmatch(uri)
        if match is None:
            raise InvalidFormat(f"not a mesh certificate: {uri[:200]!r}")
        return cls(**match.groupdict())


def job_of(key: ec.EllipticCurvePublicKey, release: Release) -> str:
    """Return the job that a driver opens with its key: nobody else's, and no other workload's or owners'.

    Args:
        key: the driver's, for its certificate.
        release: what the driver receives.
    """
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    opened = {"key": spki.hex(), "owners": list(release.owners), "workload": release.workload}
    return sha256_hex(canonical_json(opened))[:32]


def job_authority(job: str, now: int) -> CertificateAuthority:
    """Return a new authority for the members of a job.

    Args:
        job: its identifier.
        now: Unix seconds.
    """
    return CertificateAuthority.create(now, f"confide job {job}")


def requested_key(csr: str) -> ec.EllipticCurvePublicKey:
    """Return the key of a certificate request (PKCS#10, PEM). What else it asks for is not looked at.

    1. It is a request of at most 8 KiB.
    2. Its key is on P-256.
    3. That key signed it, with SHA-256.

    Raises:
        InvalidFormat: any of these fails.
    """
    try:
        request = load_request(csr.encode())
    except InvalidFormat as error:
        raise InvalidFormat(f"step 1: {error}") from None
    key = request.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidFormat("step 2: the key is not on P-256")
    if not isinstance(request.signature_hash_algorithm, hashes.SHA256) or not request.is_signature_valid:
        raise InvalidFormat("step 3: the request is not signed by its key, with SHA-256")
    return key


def issue_member(
    authority: CertificateAuthority, key: ec.EllipticCurvePublicKey, member: Member, now: int, expires: int
) -> x509.Certificate:
    """Return a certificate for TLS clients and servers.

    Args:
        authority: of the job.
        key: the member's.
        member: who it is.
        now: Unix seconds.
        expires: Unix seconds; the last moment of its validity.
    """
    names = [x509.UniformResourceIdentifier(member.uri), x509.DNSName(member.host)]
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"confide mesh {member.role}")]))
        .issuer_name(authority.certificate.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(now, UTC) - SKEW)
        .not_valid_after(datetime.fromtimestamp(expires, UTC))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
