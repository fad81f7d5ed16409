"""Which brokers an image pins: this home's own, or those given with --broker-ca."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from confide.cli.hints import advice
from confide.errors import InvalidFormat, Misuse

if TYPE_CHECKING:
    from confide.broker.ca import CertificateAuthority
    from confide.broker.client import OwnerClient
    from confide.broker.home import Home
    from confide.broker.store import Store

EMBEDDED = "embedded"
_MAX_PEM_BYTES = 16 * 1024


def embedded_authority(home: Home) -> dict[str, str]:
    """Return the authority of this home's own broker, by the name that images give it."""
    return {EMBEDDED: broker_authority(home).certificate_pem.decode()}


def broker_authority(home: Home) -> CertificateAuthority:
    """Return the authority of this home's own broker; made on first use."""
    from confide.broker.ca import CertificateAuthority

    return CertificateAuthority.of(home.store)


def named_authorities(files: Sequence[Path]) -> dict[str, str]:
    """Return what `files` pin of brokers, under the names `broker1`, `broker2`, ...

    Raises:
        Misuse: a file cannot be read.
        InvalidFormat: it is neither a certificate nor the document of an accepted broker.
    """
    from confide.broker.accepted_broker import AcceptedBroker
    from confide.broker.introduction import is_certificate

    named = {}
    for number, file in enumerate(files, 1):
        pin = read_pin(file)
        if not is_certificate(pin):
            with advice(
                InvalidFormat,
                f"{file}: a certificate (`confide broker ca`), or docs/formats/broker-identity.md.",
            ):
                AcceptedBroker.from_toml(pin)
        named[f"broker{number}"] = pin.decode()
    return named


def read_pin(file: Path) -> bytes:
    """Return what a file pins of a broker.

    Raises:
        Misuse: it cannot be read, or is far too large.
    """
    try:
        with file.open("rb") as stream:
            pin = stream.read(_MAX_PEM_BYTES + 1)
    except OSError as error:
        raise Misuse(f"cannot read {file}: {error.strerror}") from None
    if len(pin) > _MAX_PEM_BYTES:
        raise Misuse(f"{file} is neither a certificate in PEM form nor the document of an accepted broker")
    return pin


def authorities(home: Home, files: Sequence[Path]) -> dict[str, str]:
    """Return those in `files`, or without any this home's own."""
    return named_authorities(files) if files else embedded_authority(home)


def owner_client(store: Store, owner: str, url: str, pin: Path) -> OwnerClient:
    """Return a client for calls of an owner of this home to the broker that the file `pin` names.

    Raises:
        Misuse, InvalidFormat: as `named_authorities`.
        UnknownKey: the owner's signing key is not in this home.
        BrokerUnavailable, BrokerUntrusted: a broker that must show evidence cannot be asked, or is not the pinned one.
    """
    from confide.broker.client import OwnerClient
    from confide.broker.introduction import pinned_authority
    from confide.keys.signing import private_key_from_raw

    pinned = next(iter(named_authorities([pin]).values())).encode()
    authority = pinned_authority(url, pinned, int(time.time()))
    return OwnerClient(url, authority, owner, private_key_from_raw(store.owner_signing_key(owner)))
