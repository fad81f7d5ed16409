"""Claims: what verified evidence says (RATS attestation result, RFC 9334). Key release takes nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Tee(StrEnum):
    """Kinds of trusted execution environment, by the names of the KBS protocol where it has one.

    `SIMULATED` protects nothing: it exists so that programs, policies and refusals can be tried on any
    machine. It is accepted only where broker and policy both name it.
    """

    SIMULATED = "simulated"
    SGX = "sgx"
    TDX = "tdx"
    SNP = "snp"


@dataclass(frozen=True)
class Claims:
    """What a verifier established about one workload.

    Attributes:
        tee: kind of TEE that signed the evidence.
        measurement: SHA-256 of the canonical image document, 64 hex digits (for hardware TEEs, the value
            that the image's rendering gives there).
        role: role of the image in its workload, for instance `driver`.
        svn: security version number of the image (minimum versions in policies compare with it).
        debug: the TEE can be inspected from outside; such evidence never releases a key.
        hardware_id: identity of the platform (simulated: the enrolled host's id).
        tee_pubkey: JWK (public) of the key that the evidence binds; releases are encrypted to it.
        launch: launch parameters outside the measurement, name -> value, as the agent declared them.
    """

    tee: Tee
    measurement: str
    role: str
    svn: int
    debug: bool
    hardware_id: str
    tee_pubkey: Mapping[str, str] = field(repr=False)
    launch: Mapping[str, str] = field(default_factory=dict)
