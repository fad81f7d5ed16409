"""Issuers of evidence, by TEE. The table is the one place that knows which exist."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from confide.errors import MissingDependency, Misuse

ISSUERS = {"simulated": "confide.enclave.simulated.issuer"}
"""TEE -> module with `open_issuer(channel: int) -> Issuer`."""

_PLANNED = ("sgx", "tdx", "snp")


class Issuer(Protocol):
    """Has the TEE sign evidence for the image it runs."""

    def issue(self, report_data: bytes) -> Mapping[str, Any]:
        """Return evidence (the KBS protocol's `primary_evidence`) that carries 64 bytes of report data.

        Raises:
            AttestationRefused: the TEE does not issue it.
        """
        ...


def open_issuer(tee: str, channel: int) -> Issuer:
    """Return the issuer of `tee`.

    Args:
        tee: kind of TEE; never defaulted.
        channel: descriptor that the launcher left open for the issuer.

    Raises:
        Misuse: no TEE of that name.
        MissingDependency: a TEE that this version cannot use.
    """
    if tee in _PLANNED:
        raise MissingDependency(f"TEE {tee} is not supported by this version")
    if tee not in ISSUERS:
        raise Misuse(f"no TEE called {tee!r} (there are: {', '.join(ISSUERS)})")
    return cast(Issuer, import_module(ISSUERS[tee]).open_issuer(channel))
