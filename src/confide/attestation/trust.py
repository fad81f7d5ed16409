"""What evidence is anchored to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from confide.attestation.amd import verify as amd
from confide.attestation.amd.report import Product
from confide.attestation.endorsements import Endorsements
from confide.attestation.intel.roots import SGX_ROOT


@dataclass(frozen=True)
class HardwareTrust:
    """What evidence of hardware is anchored to.

    Attributes:
        endorsements: finds what it is verified with.
        intel_root: root certificate (DER) of SGX and TDX.
        amd_roots: product -> SHA-256 (hex) of its root's certificate (DER).
    """

    endorsements: Endorsements
    intel_root: bytes = SGX_ROOT
    amd_roots: Mapping[Product, str] = field(default_factory=lambda: amd.PINNED)


@dataclass(frozen=True)
class Trust:
    """What evidence is anchored to; with nothing, none is accepted.

    Attributes:
        simulated_host: id of an enrolled simulated host -> its raw Ed25519 public key, raising
            AttestationRefused where it is not enrolled; None: simulated evidence is not accepted at all.
        hardware: None: evidence of hardware is not accepted at all.
        tpm_key: id of an enrolled TPM's attestation key -> the key (DER), raising AttestationRefused where it is not
            enrolled; None: evidence of a TPM is not accepted at all.
    """

    simulated_host: Callable[[str], bytes] | None = None
    hardware: HardwareTrust | None = None
    tpm_key: Callable[[str], bytes] | None = None
