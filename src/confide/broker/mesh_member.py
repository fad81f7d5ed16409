"""A workload's side of the mesh: its certificate, and knowing peers by theirs. Format: docs/formats/mesh.md."""

from __future__ import annotations

import socket
import ssl
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, VerificationError
from cryptography.x509.verification import Store as Roots
from pydantic import Field, ValidationError

from confide.broker.ca import authority_id
from confide.broker.client import Session
from confide.broker.mesh_certificate import Member, job_of
from confide.broker.mesh_names import DRIVER
from confide.broker.release import Release
from confide.broker.tls import load_chain
from confide.certificates import load_certificate
from confide.document import StrictModel
from confide.errors import AttestationRefused, BrokerUntrusted, InvalidFormat, Unavailable

DRIVER_TIMEOUT_S = 30.0

Pem = Annotated[str, Field(max_length=16 * 1024)]


class CertificateAnswer(StrictModel):
    """A broker's answer to a certificate request.

    Attributes:
        certificate: for the requested key, PEM.
        authority: that of the job's authority, PEM.
        secret: the job's, 64 hex digits.
    """

    certificate: Pem
    authority: Pem
    secret: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", repr=False)]


@dataclass(frozen=True)
class MeshIdentity:
    """A member of a job: its key, its certificate, and how it knows the others.

    Attributes:
        member: who it is.
        key: in memory only.
        certificate: the job's authority's word for it; `not_valid_after_utc` says until when.
        authority: certificate of the job's authority, which vouches for this job's members alone.
        secret: what the members of the job know, and nobody else: 64 hex digits.
    """

    member: Member
    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificate: x509.Certificate = field(repr=False)
    authority: x509.Certificate = field(repr=False)
    secret: str = field(repr=False)

    def tls_client(self) -> ssl.SSLContext:
        """Return a context of mutual TLS 1.3; `server_hostname` is the peer's `Member.host`, and is verified."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=self.authority.public_bytes(Encoding.DER))
        secret = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        load_chain(context, secret + self.certificate.public_bytes(Encoding.PEM))
        return context

    def check_peer(self, certificate: bytes | None, role: str | None = None) -> Member:
        """Return who the peer of a TLS connection is, which verified the certificate's chain and its key.

        1. It showed a mesh certificate.
        2. It is a member of this job.
        3. It has the role that is expected, if one is.

        Args:
            certificate: DER, as `getpeercert(True)` has it.
            role: whom this connection is for; None: any member.

        Raises:
            AttestationRefused: any of these fails.
        """
        try:
            peer = Member.of(load_certificate(certificate or b""))
        except InvalidFormat:
            raise AttestationRefused("mesh, step 1: the peer shows no mesh certificate") from None
        if (peer.domain, peer.job) != (self.member.domain, self.member.job):
            raise AttestationRefused(
                f"mesh, step 2: the peer is {peer.uri}, of another job than {self.member.uri}"
            )
        if role is not None and peer.role != role:
            raise AttestationRefused(f"mesh, step 3: the peer is {peer.uri}, and role {role} is expected")
        return peer

    def require_driver(self, address: str) -> None:
        """Return if this job's driver listens at `address` (`host:port`): it shows its certificate, and that is all.

        Raises:
            AttestationRefused: somebody else listens there.
            Unavailable: nobody does.
        """
        host, _, port = address.rpartition(":")
        named = Member(self.member.domain, self.member.job, DRIVER).host
        try:
            with (
                socket.create_connection((host.strip("[]"), int(port)), DRIVER_TIMEOUT_S) as plain,
                self.tls_client().wrap_socket(plain, server_hostname=named) as tls,
            ):
                certificate = tls.getpeercert(True)
        except (OSError, OverflowError) as error:
            if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                raise AttestationRefused(f"mesh: who listens at {address} is no driver of this job") from None
            raise Unavailable(f"no driver answers at {address}: {error}") from None
        self.check_peer(certificate, DRIVER)


def join_mesh(session: Session, broker_ca: bytes, role: str, job: str | Release) -> MeshIdentity:
    """Ask a broker for a mesh certificate, and check it.

    1. The answer holds a certificate, an authority's, and a secret.
    2. That authority signed it, for TLS clients, and it is valid now (RFC 5280, by `cryptography`).
    3. It is for the key made here.
    4. Its URI is of this broker, this role, and the job that is meant.

    Args:
        session: attested, at that broker.
        broker_ca: certificate (PEM) of the broker's authority, which was pinned.
        role: this workload's.
        job: the one to join (launch parameter `mesh_job`); or, for a driver that opens its own, what that broker
            released.

    Raises:
        BrokerUntrusted: names the step.
        AttestationRefused, MeasurementRefused, LaunchRefused, PolicyRefused, KeyRefused: the broker's decision.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    answer = session.mesh_certificate(request.public_bytes(Encoding.PEM))
    try:
        said = CertificateAnswer.from_json(answer)
        certificate = load_certificate(said.certificate.encode())
        authority = load_certificate(said.authority.encode())
    except (ValidationError, InvalidFormat):
        raise _untrusted(1, "the answer holds no certificates") from None
    verifier = PolicyBuilder().store(Roots([authority])).time(datetime.fromtimestamp(time.time(), UTC))
    try:
        verifier.build_client_verifier().verify(certificate, [])
    except (VerificationError, ValueError) as error:
        raise _untrusted(2, str(error)) from None
    if certificate.public_key() != key.public_key():
        raise _untrusted(3, "the certificate is for another key")
    name = job if isinstance(job, str) else job_of(key.public_key(), job)
    wanted = Member(authority_id(broker_ca), name, role)
    try:
        member = Member.of(certificate)
    except InvalidFormat as error:
        raise _untrusted(4, str(error)) from None
    if member != wanted:
        raise _untrusted(4, f"the certificate is for {member.uri}, not for {wanted.uri}")
    return MeshIdentity(member, key, certificate, authority, said.secret)


def _untrusted(step: int, reason: str) -> BrokerUntrusted:
    return BrokerUntrusted(f"mesh certificate, step {step}: {reason}")
