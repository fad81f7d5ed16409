"""Evidence of an SGX enclave, whichever library OS runs the program in it."""

from __future__ import annotations

from pathlib import Path

from confide.enclave.issuer import Issuer
from confide.enclave.issuers import gramine, occlum
from confide.errors import MissingDependency


def detect(sgx: Path = occlum.SGX, attestation: Path = gramine.ATTESTATION) -> str | None:
    """Return the library OS that gives DCAP quotes here, `Occlum` or `Gramine`.

    Occlum is asked first: its versions may show files by Gramine's names too.
    """
    if occlum.detect(sgx):
        return "Occlum"
    return "Gramine" if gramine.detect(attestation) else None


def open_issuer(tee: str, sgx: Path = occlum.SGX, attestation: Path = gramine.ATTESTATION) -> Issuer:
    """Return the issuer of the library OS.

    Raises:
        MissingDependency: neither is here.
    """
    found = detect(sgx, attestation)
    if found is None:
        raise MissingDependency(
            f"TEE {tee}: this is no enclave of Gramine (sgx.remote_attestation = dcap) or Occlum"
        )
    return occlum.OcclumIssuer(sgx) if found == "Occlum" else gramine.GramineIssuer(attestation)
