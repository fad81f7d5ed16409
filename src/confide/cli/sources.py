"""Options that say where collateral is fetched from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from confide.errors import Misuse

if TYPE_CHECKING:
    from confide.broker.collateral.sources import Sources

_MAX_PEM_BYTES = 64 * 1024

PccsOption = Annotated[
    str | None,
    typer.Option(help="URL of a PCCS, a cache of Intel's collateral. Default: Intel's own service (PCS)."),
]
PccsCaOption = Annotated[
    Path | None,
    typer.Option(
        help="Certificate (PEM) of the only authority that may certify --pccs. Default: the system's."
    ),
]
KdsOption = Annotated[
    str | None,
    typer.Option(help="URL of a mirror of AMD's key distribution service. Default: AMD's own (KDS)."),
]


def read_sources(pccs: str | None, pccs_ca: Path | None, kds: str | None) -> Sources:
    """Return the servers that options name.

    Raises:
        Misuse: not the URL of a server, or a file that is no certificate.
    """
    from confide.attestation.amd.kds import KDS
    from confide.broker.collateral.pcs import PCS
    from confide.broker.collateral.sources import Sources

    if pccs_ca is not None and pccs is None:
        raise Misuse(
            "--pccs-ca without --pccs: Intel's own service has a certificate that every system knows"
        )
    return Sources.at(pccs or PCS, kds or KDS, None if pccs_ca is None else _read_pem(pccs_ca))


def _read_pem(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            pem = stream.read(_MAX_PEM_BYTES + 1)
    except OSError as error:
        raise Misuse(f"cannot read {file}: {error.strerror}") from None
    if len(pem) > _MAX_PEM_BYTES or b"-----BEGIN CERTIFICATE-----" not in pem:
        raise Misuse(f"{file} is not a certificate in PEM form")
    return pem
