"""The key stores that Spark's TLS reads: in the enclave's own memory, under the job's secret."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from confide.broker.mesh_member import MeshIdentity


@dataclass(frozen=True)
class Stores:
    """Where they lie.

    Attributes:
        key: the member's key with its certificate.
        trust: certificate of the job's authority, and nothing else.
    """

    key: Path
    trust: Path


def write_stores(identity: MeshIdentity, folder: Path) -> Stores:
    """Write what Java opens as PKCS #12.

    Args:
        identity: of this member.
        folder: closed to others, in memory.
    """
    stores = Stores(folder / "member.p12", folder / "job.p12")
    encryption = BestAvailableEncryption(identity.secret.encode())
    key = pkcs12.serialize_key_and_certificates(
        b"member", identity.key, identity.certificate, None, encryption
    )
    trust = pkcs12.serialize_java_truststore(
        [pkcs12.PKCS12Certificate(identity.authority, b"job")], encryption
    )
    write_private(stores.key, key)
    write_private(stores.trust, trust)
    return stores


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner reads."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_bytes(data)
    path.chmod(0o400)
