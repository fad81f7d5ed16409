"""The key stores that an engine's TLS reads: in the enclave's own memory, under a secret of the job or the run."""

from __future__ import annotations

import datetime
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from confide.broker.mesh_member import MeshIdentity
from confide.jvm.certificates import Identity


@dataclass(frozen=True)
class Stores:
    """Where they lie, and what opens them.

    Attributes:
        key: a key with its certificate.
        trust: the one certificate that vouches for whoever this process speaks to.
        secret: 64 hex digits, which those who may speak to each other share.
    """

    key: Path
    trust: Path
    secret: str = field(repr=False)


def write_stores(identity: MeshIdentity, folder: Path) -> Stores:
    """Write what Java opens as PKCS #12, for a member of a job.

    Args:
        identity: of this member.
        folder: closed to others, in memory.
    """
    return _write(identity.key, identity.certificate, identity.authority, identity.secret, folder)


def write_own_stores(now: datetime.datetime, folder: Path) -> Stores:
    """Write those of a process that speaks to itself alone: key and secret are made here.

    Args:
        now: with a time zone.
        folder: closed to others, in memory.
    """
    own = Identity.new("own", now)
    return _write(own.key, own.certificate, own.certificate, secrets.token_hex(32), folder)


def _write(
    key: ec.EllipticCurvePrivateKey,
    certificate: x509.Certificate,
    trusted: x509.Certificate,
    secret: str,
    folder: Path,
) -> Stores:
    stores = Stores(folder / "member.p12", folder / "job.p12", secret)
    sealed = BestAvailableEncryption(secret.encode())
    trust = pkcs12.serialize_java_truststore([pkcs12.PKCS12Certificate(trusted, b"job")], sealed)
    write_private(
        stores.key, pkcs12.serialize_key_and_certificates(b"member", key, certificate, None, sealed)
    )
    write_private(stores.trust, trust)
    return stores


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner reads."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(data)
    path.chmod(0o400)
