"""Which TEE this program runs in, as far as the kernel shows it. Never the simulated one: that is asked for by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from confide.attestation.claims import Tee
from confide.enclave.issuer import Issuer
from confide.enclave.issuers import azure_vtpm, configfs_tsm, gramine, occlum, sgx, tpm_device
from confide.errors import MissingDependency, Misuse


@dataclass(frozen=True)
class Found:
    """A TEE that gives evidence here.

    Attributes:
        tee: which.
        by: what gives the evidence, for people.
        issuer: asks for it.
    """

    tee: Tee
    by: str
    issuer: Issuer


def detect(
    device: Path = occlum.SGX,
    attestation: Path = gramine.ATTESTATION,
    reports: Path = configfs_tsm.REPORTS,
    tpm: Path = tpm_device.TPM,
) -> tuple[Found, ...]:
    """Return every TEE that gives evidence here; asks for none, and changes nothing."""
    found: list[Found] = []
    if library := sgx.detect(device, attestation):
        found.append(Found(Tee.SGX, library, sgx.open_issuer(Tee.SGX, device, attestation)))
    if tee := configfs_tsm.detect(reports):
        found.append(Found(tee, "configfs-tsm", configfs_tsm.TsmIssuer(tee, reports)))
    if tee := azure_vtpm.detect(tpm):
        found.append(Found(tee, "virtual TPM", azure_vtpm.AzureIssuer(tee, tpm)))
    return tuple(found)


def find_issuer(
    device: Path = occlum.SGX,
    attestation: Path = gramine.ATTESTATION,
    reports: Path = configfs_tsm.REPORTS,
    tpm: Path = tpm_device.TPM,
) -> Found:
    """Return the one TEE that gives evidence here.

    Raises:
        MissingDependency: none does.
        Misuse: several do; which one is meant must be said.
    """
    found = detect(device, attestation, reports, tpm)
    if not found:
        raise MissingDependency(
            "no TEE gives evidence here: no enclave of Gramine or Occlum, no TDX or SNP guest"
        )
    if len(found) > 1:
        raise Misuse(f"several TEEs give evidence here: {', '.join(each.tee for each in found)}; name one")
    return found[0]
