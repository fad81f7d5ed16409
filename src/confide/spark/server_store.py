"""The key store of what Spark serves to clients by TLS: in the enclave's own memory, as Java opens it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
    pkcs12,
)

from confide.jvm.stores import write_private


@dataclass(frozen=True)
class KeyStore:
    """Key and certificates that a server shows.

    Attributes:
        path: in the enclave's own memory.
        password: made for the run.
    """

    path: Path
    password: str = field(repr=False)


def write_key_store(chain: bytes, folder: Path) -> KeyStore:
    """Write the identity of a server as PKCS #12.

    Args:
        chain: private key, certificate with evidence, and authority (PEM), as `server_identity.make_chain` returns it.
        folder: closed to others, in memory.
    """
    store = KeyStore(folder / "server.p12", secrets.token_hex(32))
    leaf, authority = certificates(chain)
    data = pkcs12.serialize_key_and_certificates(
        b"server",
        load_pem_private_key(chain, None),  # type: ignore[arg-type]
        leaf,
        [authority],
        BestAvailableEncryption(store.password.encode()),
    )
    write_private(store.path, data)
    return store


def certificates(chain: bytes) -> list[x509.Certificate]:
    """Return the certificates that follow the private key."""
    return x509.load_pem_x509_certificates(chain[chain.index(b"-----BEGIN CERTIFICATE") :])
