"""From a verified platform to claims about the workload on it: which measurement counts for which TEE."""

from __future__ import annotations

import hmac

from confide.attestation.claims import Claims, Platform, Tee
from confide.attestation.evidence import RuntimeData
from confide.errors import AttestationRefused

DEFAULT_ROLE = "driver"
_BOUND_CONFIGURATION = {Tee.TDX: "mrconfigid", Tee.SNP: "host_data"}


def claims_of(tee: Tee, platform: Platform, runtime_data: RuntimeData) -> Claims:
    """Return the claims of a workload whose evidence was verified and binds `runtime_data`.

    SGX measures the program itself: the measurement is MRENCLAVE, the security version ISVSVN. A confidential VM
    measures a guest, which policies list as registers; the guest's agent states the image that it verified and
    runs. Where the VM was launched with a configuration digest (SNP HOST_DATA, TDX MRCONFIGID; the init-data
    convention), the statement must be that digest, and without a statement the digest is the measurement. On Azure
    those two fields are the provider's to set and no guest checks them: there only the agent's statement counts. So it
    does where a TPM measured the boot.

    Raises:
        AttestationRefused: the evidence says neither, or the two differ.
    """
    image = runtime_data.image
    if tee is Tee.SGX:
        measurement, svn = platform.registers["mrenclave"], platform.numbers["isv_svn"]
    else:
        measurement = _measurement(launched_with(tee, platform), image.measurement if image else None)
        svn = image.svn if image else 0
    return Claims(
        tee=tee,
        measurement=measurement,
        role=image.role if image else DEFAULT_ROLE,
        svn=svn,
        debug=platform.debug,
        hardware_id=platform.hardware_ids[0] if platform.hardware_ids else "",
        tee_pubkey=runtime_data.tee_pubkey.wire(),
        launch=dict(runtime_data.launch),
        platform=platform,
        owners=image.owners if image else (),
    )


def launched_with(tee: Tee, platform: Platform) -> str:
    """Return the SHA-256 (hex) that a confidential VM was launched with, empty where there is none.

    Raises:
        AttestationRefused: it was launched with something else.
    """
    bound = platform.registers[_BOUND_CONFIGURATION[tee]] if tee in _BOUND_CONFIGURATION else ""
    digest, padding = bound[:64], bound[64:]
    if padding.strip("0"):
        raise AttestationRefused("the VM's configuration digest is not a SHA-256 padded with zeros")
    return digest if digest.strip("0") else ""


def _measurement(digest: str, stated: str | None) -> str:
    """Return the measurement from the digest that a VM was launched with and what its agent states."""
    if not digest:
        if stated is None:
            raise AttestationRefused("neither the agent nor the launch of the VM says which image runs")
        return stated
    if stated is not None and not hmac.compare_digest(stated, digest):
        raise AttestationRefused("the agent states another image than the VM was launched with")
    return digest
