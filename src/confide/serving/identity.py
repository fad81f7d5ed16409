"""Who a worker is: the certificate that it serves TLS with, and its evidence, which binds the pool's keys too.

The same extension as in an attested broker's certificate. Format: docs/formats/serving.md.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field

from confide.attestation.claims import Claims
from confide.attestation.evidence import WireModel
from confide.attestation.trust import HardwareTrust
from confide.broker.accepted_server import AcceptedServer, ServerKind, verify_server
from confide.broker.attested_leaf import evidence_extension
from confide.broker.ca import CertificateAuthority
from confide.certificates import load_certificate
from confide.data.listing import KeyNameText
from confide.enclave.attester import OwnEvidence
from confide.errors import AttestationRefused, InvalidFormat, Misuse
from confide.keys.names import KeyName, KeyVersion
from confide.serving.pool_key import PoolKeys, PoolPublicKey, keys_digest

PATH = "/confide/v1/serving"
MAX_BYTES = 512 * 1024
MAX_NONCE_CHARS = 64
ROLE = "driver"
_NONCE = "serving certificate"
_KEYS = "serving.keys"

Pem = Annotated[str, Field(max_length=384 * 1024)]
KeyBytes = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]{43}=$")]


class AcceptedServing(AcceptedServer):
    """What a worker must be, as its clients demand.

    Attributes:
        requests: the pool key that requests may be sealed to, `owner/name`.
        minimum_version: lowest version of it to seal to: a worker that was cut off has no later one.
    """

    called = "accepted serving"

    requests: KeyNameText
    minimum_version: Annotated[int, Field(ge=1, le=2**31)] = 1


class Introduction(WireModel):
    """What a worker says of itself. Nothing in it is trusted: `verify_worker` decides.

    Attributes:
        authority: certificate of its authority, PEM.
        certificate: signed by it, with evidence; PEM.
        current: version of the pool key to seal to.
        keys: version -> raw X25519 public key, base64; every live version.
    """

    authority: Pem
    certificate: Pem
    current: Annotated[str, Field(max_length=256)]
    keys: Annotated[
        dict[Annotated[str, Field(max_length=256)], KeyBytes], Field(min_length=1, max_length=256)
    ]


@dataclass(frozen=True)
class VerifiedWorker:
    """A worker that is an accepted one.

    Attributes:
        claims: what its evidence says.
        authority_pem: to be pinned for TLS with it.
        key: of the pool, to seal to.
    """

    claims: Claims
    authority_pem: bytes
    key: PoolPublicKey


class WorkerIdentity:
    """A worker's authority, made at start in its memory, and what that certifies.

    Args:
        evidence: has evidence made.
        names: by which clients call the worker.
        now: Unix seconds.
    """

    def __init__(self, evidence: OwnEvidence, names: Sequence[str], now: int) -> None:
        self._evidence, self._names = evidence, names
        self._authority = CertificateAuthority.create(now, "confide serving authority")

    def leaf(self, keys: PoolKeys, now: int, nonce: str = "") -> bytes:
        """Return a new private key and certificate with evidence, as one PEM.

        Args:
            keys: of the pool; the evidence binds them.
            now: Unix seconds.
            nonce: of whoever wants to see that the evidence is fresh.

        Raises:
            AttestationRefused: the TEE gives no evidence.
        """
        said = {_KEYS: keys_digest(keys.public, keys.current)}
        own = self._evidence

        def attest(key: Any, authority: str) -> x509.UnrecognizedExtension:
            return evidence_extension(
                key, authority, own.tee, own.attester, own.image, _nonce_of(nonce), said
            )

        return self._authority.issue_leaf(self._names, now, attest, "confide serving worker")

    def introduce(self, keys: PoolKeys, leaf: bytes) -> dict[str, Any]:
        """Return the introduction, as JSON values.

        Args:
            keys: as its evidence binds them.
            leaf: as `leaf` made it.
        """
        return Introduction(
            authority=self._authority.certificate_pem.decode(),
            certificate=leaf[leaf.index(b"-----BEGIN CERTIFICATE") :].decode(),
            current=str(keys.current),
            keys={
                str(key.version): base64.b64encode(key.key.public_bytes_raw()).decode() for key in keys.public
            },
        ).wire()


def verify_worker(
    introduction: Introduction,
    accepted: AcceptedServing,
    hardware: HardwareTrust | None,
    now: int,
    nonce: str = "",
) -> VerifiedWorker:
    """Verify that a worker is an accepted one, and that the pool key is its own.

    Steps 1 to 6 are those of `verify_server`; the evidence is for this `nonce`.

    7. The keys read, the current one is among them, all are versions of the accepted pool key, and the current one is
       at least the lowest accepted.
    8. The evidence binds exactly these keys.

    Args:
        introduction: nothing in it is trusted.
        accepted: what the worker must be.
        hardware: what evidence of hardware is anchored to; None: none is accepted.
        now: Unix seconds.
        nonce: that was asked with.

    Raises:
        AttestationRefused: names the step. PlatformRefused, CollateralUnavailable: their verifiers.
    """
    kind = ServerKind("serving worker", ROLE, _nonce_of(nonce), AttestationRefused)
    try:
        leaf = load_certificate(introduction.certificate.encode(), MAX_BYTES)
        authority = load_certificate(introduction.authority.encode())
    except InvalidFormat:
        raise AttestationRefused("serving worker, step 1: it shows no certificates") from None
    claims = verify_server(kind, leaf, authority, accepted, hardware, now)
    try:
        current = KeyVersion.parse(introduction.current)
        keys = [
            PoolPublicKey(KeyVersion.parse(version), X25519PublicKey.from_public_bytes(base64.b64decode(raw)))
            for version, raw in introduction.keys.items()
        ]
        chosen = next(key for key in keys if key.version == current)
    except (Misuse, ValueError, StopIteration):
        raise AttestationRefused("serving worker, step 7: its keys do not read") from None
    pool = KeyName.parse(accepted.requests)
    if foreign := [str(key.version) for key in keys if key.version.key != pool]:
        raise AttestationRefused(f"serving worker, step 7: requests go to {foreign[0]}, {pool} is accepted")
    if current.version < accepted.minimum_version:
        raise AttestationRefused(
            f"serving worker, step 7: requests go to {current}, at least version {accepted.minimum_version} is demanded"
        )
    if claims.launch.get(_KEYS) != keys_digest(keys, current):
        raise AttestationRefused("serving worker, step 8: its evidence binds other keys than it shows")
    return VerifiedWorker(claims, authority.public_bytes(Encoding.PEM), chosen)


def _nonce_of(nonce: str) -> str:
    return f"{_NONCE}:{nonce}" if nonce else _NONCE
