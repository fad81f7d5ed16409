"""The key of a simulated host: what signs simulated evidence on this machine. It protects nothing.

The key lies in the home, closed to others, and is never part of an image. A broker accepts it only once the
host is enrolled there.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from confide.broker.home import HOST_KEY_NAME
from confide.errors import InvalidFormat, Refused, StorageUnavailable
from confide.keys.signing import generate_signing_key, key_id, private_key_from_raw, raw_private


def host_key(home: Path) -> Ed25519PrivateKey:
    """Return this host's key, making it, and the folder (0700) for it, on first use.

    Args:
        home: folder of the home.

    Raises:
        Refused: others may read the key file.
        InvalidFormat: the file holds no key.
        StorageUnavailable: it can be neither read nor written.
    """
    path = home / HOST_KEY_NAME
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read(path)  # of a home that is a file, this tells
    except OSError as error:
        raise StorageUnavailable(f"key of the simulated host at {path}: {error.strerror}") from None
    key = generate_signing_key()
    with os.fdopen(descriptor, "w") as file:
        file.write(raw_private(key).hex() + "\n")
    return key


def host_id(key: Ed25519PrivateKey) -> str:
    """Return the host's identity: SHA-256 of its raw public key, 64 hex digits."""
    return key_id(key.public_key())


def _read(path: Path) -> Ed25519PrivateKey:
    try:
        with path.open() as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(128).strip()
    except OSError as error:
        raise StorageUnavailable(f"key of the simulated host at {path}: {error.strerror}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise Refused(f"{path} may be read by others (mode {stat.S_IMODE(mode):04o})")
    try:
        return private_key_from_raw(bytes.fromhex(text))
    except ValueError:
        raise InvalidFormat(f"{path} holds no key") from None
