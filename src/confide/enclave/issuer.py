"""Issuers of evidence, by TEE. The table is the one place that knows which exist."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from confide.attestation.claims import Tee
from confide.errors import Misuse

ISSUERS = {
    Tee.SGX: "confide.enclave.issuers.sgx",
    Tee.TDX: "confide.enclave.issuers.configfs_tsm",
    Tee.SNP: "confide.enclave.issuers.configfs_tsm",
    Tee.AZURE_SNP: "confide.enclave.issuers.azure_vtpm",
    Tee.AZURE_TDX: "confide.enclave.issuers.azure_vtpm",
    Tee.TPM: "confide.enclave.issuers.tpm",
}
"""TEE -> module with `open_issuer(tee: str) -> Issuer`."""


class Issuer(Protocol):
    """Has a TEE sign evidence."""

    def issue(self, report_data: bytes) -> Mapping[str, Any]:
        """Return evidence (the KBS protocol's `primary_evidence`) that carries 64 bytes of report data.

        Raises:
            AttestationRefused: the TEE does not issue it.
        """
        ...


def open_issuer(tee: str) -> Issuer:
    """Return the issuer of `tee`.

    Args:
        tee: kind of TEE; never defaulted, and never the simulated one.

    Raises:
        Misuse: no TEE of that name.
        MissingDependency: the TEE is not here.
    """
    if tee not in ISSUERS:
        raise Misuse(f"no hardware TEE called {tee!r} (there are: {', '.join(ISSUERS)})")
    return cast(Issuer, import_module(ISSUERS[Tee(tee)]).open_issuer(tee))
