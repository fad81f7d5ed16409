"""Which brokers an image pins: this home's own, or those given with --broker-ca."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from confide.errors import Misuse

if TYPE_CHECKING:
    from confide.broker.ca import CertificateAuthority
    from confide.broker.home import Home

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
    """Return the authorities in `files` under the names `broker1`, `broker2`, ...

    Raises:
        Misuse: a file cannot be read or is no certificate.
    """
    named = {}
    for number, file in enumerate(files, 1):
        try:
            with file.open("rb") as stream:
                pem = stream.read(_MAX_PEM_BYTES + 1)
        except OSError as error:
            raise Misuse(f"cannot read {file}: {error.strerror}") from None
        if len(pem) > _MAX_PEM_BYTES or b"BEGIN CERTIFICATE" not in pem:
            raise Misuse(f"{file} is not a certificate in PEM form")
        named[f"broker{number}"] = pem.decode("ascii", errors="strict")
    return named


def authorities(home: Home, files: Sequence[Path]) -> dict[str, str]:
    """Return those in `files`, or without any this home's own."""
    return named_authorities(files) if files else embedded_authority(home)
