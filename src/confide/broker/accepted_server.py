"""Which attested server a client accepts: its measurements, and what is demanded of its platform; and the decision.

Brokers are such servers, and workers of serving workloads. Format: docs/formats/broker-identity.md.
"""

from __future__ import annotations

import base64
import hmac
import tomllib
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from pydantic import Field, ValidationError

from confide.attestation.appraise import appraise
from confide.attestation.claims import Claims, Tee
from confide.attestation.evidence import describe
from confide.attestation.requirements import PlatformRequirements
from confide.attestation.trust import HardwareTrust, Trust
from confide.attestation.verify import verify
from confide.broker.attested_leaf import AUTHORITY, public_jwk, read_extension
from confide.broker.policy import MAX_MEASUREMENTS, Measurement
from confide.canonical import sha256_hex
from confide.document import StrictModel
from confide.errors import AttestationRefused, ConfideError, InvalidFormat

MAX_BYTES = 16 * 1024

Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]


@dataclass(frozen=True)
class ServerKind:
    """A kind of attested server.

    Attributes:
        name: in messages.
        role: that its evidence states.
        nonce: that its evidence has.
        untrusted: error that says it is not an accepted one.
    """

    name: str
    role: str
    nonce: str
    untrusted: type[ConfideError]


class AcceptedServer(StrictModel):
    """What a server must be.

    Attributes:
        version: of this format, 1.
        tee: kind of TEE that it runs in; `simulated` must be written out like any other.
        measurements: acceptable measurements of it.
        minimum_svn: lowest acceptable security version number.
        hosts: Ed25519 public keys (base64) of acceptable hosts; of the TEE `simulated` alone.
        platform: what is demanded of the hardware; there for every TEE but `simulated`, which has none.
    """

    called: ClassVar[str] = "accepted server"

    version: Annotated[int, Field(ge=1, le=1)]
    tee: Annotated[Tee, Field(strict=False)]
    measurements: Annotated[
        tuple[Measurement, ...], Field(min_length=1, max_length=MAX_MEASUREMENTS, strict=False)
    ]
    minimum_svn: Annotated[int, Field(ge=0, le=65535)] = 0
    hosts: Annotated[tuple[Host, ...], Field(max_length=64, strict=False)] = ()
    platform: PlatformRequirements | None = None

    @classmethod
    def from_toml(cls, data: bytes) -> Self:
        """Parse the document.

        Raises:
            InvalidFormat: larger than 16 KiB, not TOML, or with faults; all are listed.
        """
        if len(data) > MAX_BYTES:
            raise InvalidFormat(f"{cls.called}: {len(data)} bytes, at most {MAX_BYTES} are allowed")
        try:
            accepted = cls.model_validate(tomllib.loads(data.decode()))
        except ValidationError as error:
            raise InvalidFormat(f"{cls.called}: {describe(error)}") from None
        except (ValueError, RecursionError):
            raise InvalidFormat(f"{cls.called}: not TOML") from None
        if faults := accepted.faults():
            raise InvalidFormat(f"{cls.called}: {'; '.join(faults)}")
        return accepted

    def faults(self) -> list[str]:
        """Return what makes the document meaningless."""
        if self.tee is Tee.SIMULATED:
            faults = [] if self.hosts else ["hosts: missing: whose simulated evidence is accepted?"]
            return faults + (["platform: simulated has none"] if self.platform is not None else [])
        if self.tee is Tee.TPM:
            return ["tee: a server is accepted in a TEE that keeps its memory confidential; tpm does not"]
        if self.platform is None:
            return [f"platform: missing: what is demanded of the {self.tee} hardware?"]
        faults = ["hosts: of the TEE simulated alone"] if self.hosts else []
        faults += [f"minimum_svn: {fault}" for fault in self.platform.svn_faults(self.tee, self.minimum_svn)]
        return faults + self.platform.faults(self.tee)

    def trust(self, hardware: HardwareTrust | None) -> Trust:
        """Return what the server's evidence is anchored to: the hosts listed here, or the makers of hardware."""
        if self.tee is not Tee.SIMULATED:
            return Trust(hardware=hardware)
        raw = {sha256_hex(key): key for key in map(base64.b64decode, self.hosts)}

        def host(identity: str) -> bytes:
            if identity not in raw:
                raise AttestationRefused("a simulated host that is not listed")
            return raw[identity]

        return Trust(simulated_host=host)


def verify_server(
    kind: ServerKind,
    leaf: x509.Certificate,
    authority: x509.Certificate,
    accepted: AcceptedServer,
    hardware: HardwareTrust | None,
    now: int,
) -> Claims:
    """Verify that a server is an accepted one, and that `authority` is its own.

    1. The certificate that it serves TLS with carries evidence, and is valid at `now`.
    2. The evidence is genuine, of the TEE that is accepted, and not of debug (`attestation.verify`).
    3. It binds the certificate's key.
    4. It binds the authority, which signed the certificate.
    5. It is of this kind of server, with an accepted measurement and at least the lowest accepted security version.
    6. The platform is what is demanded (`attestation.appraise`).

    That the peer holds the certificate's key is for the TLS handshakes to show that pin the authority afterwards.

    Args:
        kind: what server it is.
        leaf: nothing in it is trusted.
        authority: nothing in it is trusted.
        accepted: what the server must be.
        hardware: what evidence of hardware is anchored to; None: none is accepted.
        now: Unix seconds.

    Raises:
        kind.untrusted: names the step. AttestationRefused, PlatformRefused, CollateralUnavailable: their verifiers.
    """
    try:
        attested = read_extension(leaf)
        key = leaf.public_key()
    except (InvalidFormat, ValueError, UnsupportedAlgorithm) as error:
        raise _untrusted(kind, 1, str(error)) from None
    if not leaf.not_valid_before_utc.timestamp() <= now <= leaf.not_valid_after_utc.timestamp():
        raise _untrusted(kind, 1, "its certificate is not valid yet, or has expired")
    if attested.tee != accepted.tee:
        raise _untrusted(kind, 2, f"evidence of the TEE {attested.tee}, {accepted.tee} is accepted")
    trust = accepted.trust(hardware)
    claims = verify(attested.attestation, tee=attested.tee, nonce=kind.nonce, trust=trust, now=now)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _untrusted(kind, 3, "its certificate's key is not on P-256")
    if public_jwk(key).wire() != claims.tee_pubkey:
        raise _untrusted(kind, 3, "its evidence is for another key than its certificate's")
    _check_authority(kind, leaf, authority, claims)
    if claims.role != kind.role or claims.measurement not in accepted.measurements:
        raise _untrusted(kind, 5, f"measurement {claims.measurement} (role {claims.role}) is not accepted")
    if claims.svn < accepted.minimum_svn:
        raise _untrusted(
            kind, 5, f"security version {claims.svn}, at least {accepted.minimum_svn} is demanded"
        )
    if claims.platform is not None and accepted.platform is not None:
        appraise(claims.tee, claims.platform, accepted.platform, now)
    return claims


def _check_authority(
    kind: ServerKind, leaf: x509.Certificate, authority: x509.Certificate, claims: Claims
) -> None:
    fingerprint = authority.fingerprint(SHA256()).hex()
    if not hmac.compare_digest(claims.launch.get(AUTHORITY, "").encode(), fingerprint.encode()):
        raise _untrusted(kind, 4, "its evidence names another authority")
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        raise _untrusted(kind, 4, "its authority did not sign its certificate") from None


def _untrusted(kind: ServerKind, step: int, reason: str) -> ConfideError:
    return kind.untrusted(f"{kind.name}, step {step}: {reason}")
