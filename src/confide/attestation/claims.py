"""Claims: what verified evidence says (RATS attestation result, RFC 9334). Key release takes nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Tee(StrEnum):
    """Kinds of trusted execution environment, by the names of the KBS protocol where it has one.

    `SIMULATED` protects nothing: it exists so that programs, policies and refusals can be tried on any
    machine. `TPM` is a machine whose boot was measured, and whose memory is not confidential: whoever runs it can read
    it. Both are accepted only where broker and policy both name them.
    """

    SIMULATED = "simulated"
    TPM = "tpm"
    SGX = "sgx"
    TDX = "tdx"
    SNP = "snp"
    AZURE_SNP = "az-snp-vtpm"
    AZURE_TDX = "az-tdx-vtpm"

    @property
    def confidential(self) -> bool:
        """Whether hardware keeps what runs in it from whoever runs the machine."""
        return self not in (Tee.SIMULATED, Tee.TPM)


@dataclass(frozen=True)
class Tcb:
    """State of a platform's trusted computing base, as its vendor's data judge it at the time of verification.

    Attributes:
        status: Intel: `UpToDate`, `SWHardeningNeeded`, `ConfigurationNeeded`, `ConfigurationAndSWHardeningNeeded`,
            `OutOfDate`, `OutOfDateConfigurationNeeded`, the worse of platform and quoting enclave. AMD publishes
            no such verdict: empty, and `components` are compared.
        advisories: security advisories that the level is open to, sorted.
        date: Unix seconds: of the TCB level that the platform meets; None where there is none (AMD).
        evaluation: Intel's tcbEvaluationDataNumber, 0 for AMD.
        product: AMD: `Milan`, `Genoa` or `Turin`, which the numbers of `components` are of. Empty for Intel.
        components: security version numbers. AMD: `bootloader`, `tee`, `snp`, `microcode`, Turin `fmc` too; the
            lowest over the reported, committed and launch TCB. Empty for Intel.
        smt: hyperthreads are on; None where the evidence does not say.
        dynamic_platform: packages can be added to the platform; None where the evidence does not say.
        cached_keys: platform keys are cached by its registration server; None where the evidence does not say.
    """

    status: str = ""
    advisories: tuple[str, ...] = ()
    date: int | None = None
    evaluation: int = 0
    product: str = ""
    components: Mapping[str, int] = field(default_factory=dict)
    smt: bool | None = None
    dynamic_platform: bool | None = None
    cached_keys: bool | None = None


@dataclass(frozen=True)
class Platform:
    """What hardware evidence says about the machine and what it launched, by the names that policies use.

    Attributes:
        registers: name -> lower-case hex. SGX: `mrenclave`, `mrsigner`, `config_id`, `family_id`, `ext_prod_id`,
            `attributes`, `misc_select`. TDX: `mrtd`, `rtmr0`..`rtmr3`, `mrconfigid`, `mrowner`, `mrownerconfig`,
            `mrseam`, `mrsignerseam`, `td_attributes`, `xfam`. SNP: `measurement`, `host_data`, `id_key_digest`,
            `author_key_digest`, `family_id`, `image_id`. TPM: `pcr0`..`pcr23`. Azure: its hardware's, and those.
        numbers: name -> number. SGX: `isv_prod_id`, `isv_svn`, `config_svn`. SNP: `guest_svn`, `vmpl`, `policy`,
            `platform_info`, `launch_mit_vector`, `current_mit_vector` (0 in reports older than version 5).
        hardware_ids: what its maker certified as the machine's identity, lower-case hex: platform instance id (PIID) or
            else PPID; id of the chip whose VCEK signed. Empty where a VLEK signed. TPM: SHA-256 of the enrolled key.
        tcb: state of its trusted computing base.
        debug: it can be inspected from outside.
        expires: Unix seconds at which the collateral or a certificate of this verification expires.
    """

    registers: Mapping[str, str]
    numbers: Mapping[str, int]
    hardware_ids: tuple[str, ...]
    tcb: Tcb
    debug: bool
    expires: int


@dataclass(frozen=True)
class Claims:
    """What a verifier established about one workload.

    Attributes:
        tee: kind of TEE that signed the evidence.
        measurement: what identifies the code, 64 hex digits: MRENCLAVE of SGX; elsewhere the SHA-256 of the canonical
            image document, which the launcher (simulated) or the measured guest states.
        role: role of the image in its workload, for instance `driver`.
        svn: security version number of the image (minimum versions in policies compare with it).
        debug: the TEE can be inspected from outside; such evidence never releases a key.
        hardware_id: identity of the platform (simulated, TPM: the enrolled key's id; empty where it is hidden).
        tee_pubkey: JWK (public) of the key that the evidence binds; releases are encrypted to it.
        launch: launch parameters outside the measurement, name -> value, as the agent declared them.
        platform: what hardware says of machine and launch; None for the simulated TEE.
        owners: who takes part, as the measured agent says: these and no others; empty: one owner alone.
    """

    tee: Tee
    measurement: str
    role: str
    svn: int
    debug: bool
    hardware_id: str
    tee_pubkey: Mapping[str, str] = field(repr=False)
    launch: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    owners: tuple[str, ...] = ()
