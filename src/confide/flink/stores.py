"""Key and certificate of one run's Flink, as files, since Flink takes them as nothing else: in the enclave's memory."""

from __future__ import annotations

import datetime
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from confide.jvm.certificates import Identity


@dataclass(frozen=True)
class Store:
    """Two PKCS #12 files.

    Attributes:
        keys: own key and certificate.
        trusted: the certificates that peers may have.
        password: of both.
    """

    keys: Path
    trusted: Path
    password: str = field(repr=False)


def write_store(folder: Path, now: datetime.datetime) -> Store:
    """Make a key for one run, write both files into the new `folder`, and return where they are.

    There is one certificate: every endpoint of the run has it, and trusts nothing else.
    """
    identity, password = Identity.new("flink", now), secrets.token_hex(32)
    store = Store(folder / "keys.p12", folder / "trusted.p12", password)
    sealed = BestAvailableEncryption(password.encode())
    folder.mkdir(mode=0o700)
    for path, data in (
        (
            store.keys,
            pkcs12.serialize_key_and_certificates(b"flink", identity.key, identity.certificate, None, sealed),
        ),
        (
            store.trusted,
            pkcs12.serialize_java_truststore(
                [pkcs12.PKCS12Certificate(identity.certificate, b"flink")], sealed
            ),
        ),
    ):
        path.touch(mode=0o600)
        path.write_bytes(data)
    return store
