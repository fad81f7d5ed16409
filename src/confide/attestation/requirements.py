"""What a policy demands of a platform: the `[workload.platform]` table. Strict where it is silent.

Format: docs/formats/policy.md. `appraise` holds a verified platform against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, Field

from confide.attestation.amd.report import TCB_LAYOUTS, PolicyBit, Product
from confide.attestation.claims import Tee
from confide.document import StrictModel

Status = Literal[
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
]
STATUSES: tuple[str, ...] = get_args(Status)
OUTDATED = ("OutOfDate", "OutOfDateConfigurationNeeded")
"""Accepted only together with a grace period."""

TcbComponent = Literal["bootloader", "tee", "snp", "microcode", "fmc"]
GuestPolicyBit = Literal[
    "single-socket", "aes-256-xts", "rapl-disabled", "ciphertext-hiding", "page-swap-disabled"
]
RESTRICTIONS: dict[GuestPolicyBit, PolicyBit] = {
    "single-socket": PolicyBit.SINGLE_SOCKET,
    "aes-256-xts": PolicyBit.MEM_AES_256_XTS,
    "rapl-disabled": PolicyBit.RAPL_DIS,
    "ciphertext-hiding": PolicyBit.CIPHERTEXT_HIDING_DRAM,
    "page-swap-disabled": PolicyBit.PAGE_SWAP_DISABLE,
}

_HEX = re.compile(r"(?:[0-9a-f]{2}){1,64}")
_ADVISORY = re.compile(r"INTEL-[A-Z]{2,3}-[0-9]{5}")
_REGISTERS = {
    Tee.SGX: {"mrsigner", "config_id", "family_id", "ext_prod_id", "attributes", "misc_select"},
    Tee.TDX: {"mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mrconfigid", "mrowner", "mrownerconfig"}
    | {"mrseam", "mrsignerseam", "td_attributes", "xfam"},
    Tee.SNP: {"measurement", "host_data", "id_key_digest", "author_key_digest", "family_id", "image_id"},
}
_PCRS = {f"pcr{index}" for index in range(24)}
_REGISTERS[Tee.TPM] = _PCRS
_REGISTERS[Tee.AZURE_SNP] = _REGISTERS[Tee.SNP] | _PCRS
_REGISTERS[Tee.AZURE_TDX] = _REGISTERS[Tee.TDX] | _PCRS
_NEEDED: dict[Tee, tuple[tuple[str, ...], ...]] = {
    Tee.SGX: (),
    Tee.TDX: (("mrtd",), ("rtmr0",), ("rtmr1",), ("rtmr2",)),
    Tee.SNP: (("measurement",),),
    Tee.TPM: (("pcr4",), ("pcr9", "pcr11")),
    Tee.AZURE_SNP: (("measurement",), ("pcr4",), ("pcr9", "pcr11")),
    Tee.AZURE_TDX: (("mrtd",), ("pcr4",), ("pcr9", "pcr11")),
}
"""Registers without which any guest at all would do: firmware, boot loader, kernel and what it starts."""

BESIDE = {"pcr9": ("pcr8",), "pcr11": ("pcr12", "pcr13")}
"""Register -> those that say what it does not: GRUB measures command lines into PCR 8; systemd's stub those handed to a
unified kernel image, and credentials, into PCR 12, system extensions into PCR 13. Zero says that there was none."""

INTEL = (Tee.SGX, Tee.TDX, Tee.AZURE_TDX)
AMD = (Tee.SNP, Tee.AZURE_SNP)
_INTEL_ONLY = {"status", "advisories", "grace_days", "minimum_evaluation"} | {
    "allow_dynamic_platform",
    "allow_cached_keys",
}
_AMD_ONLY = {"products", "minimum_tcb", "highest_vmpl", "guest_policy", "allow_migration", "allow_cxl"} | {
    "allow_unchecked_aliases",
    "mitigations",
}

_ALL_ELSE = _INTEL_ONLY | _AMD_ONLY | {"allow_smt"}
"""What is demanded of hardware alone."""


def _matching(pattern: re.Pattern[str], what: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"not {what}")
        return text

    return AfterValidator(check)


Hex = Annotated[str, _matching(_HEX, "lower-case hex digits, at most 64 bytes")]
Advisory = Annotated[str, _matching(_ADVISORY, "an advisory such as INTEL-SA-00615")]
RegisterName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class PlatformRequirements(StrictModel):
    """What a policy demands of the platform that a workload runs on.

    Attributes:
        registers: register -> acceptable values, hex; the names are those of `claims.Platform`.
        hardware_ids: acceptable chip ids (AMD) or platform instance ids (Intel), hex; None: any.
        status: acceptable TCB statuses (Intel).
        advisories: acceptable advisories (Intel); a level that is open to any other is refused.
        grace_days: how long after its TCB level's date an outdated platform is accepted (Intel).
        minimum_evaluation: lowest acceptable number of the TCB evaluation that judged it (Intel).
        products: acceptable generations of EPYC, which the numbers of `minimum_tcb` are of (AMD).
        minimum_tcb: component -> lowest acceptable version, each compared on its own (AMD).
        mitigations: bits that must be set in the launch and in the current mitigation vector (AMD); None: any.
        isv_prod_id: acceptable product id (SGX); None: any, as the measurement is exact.
        highest_vmpl: least privileged VMPL that may ask for a report (AMD), 0 being the most privileged.
        guest_policy: restrictions that the guest policy must contain (AMD).
        allow_smt: hyperthreads may be on.
        allow_dynamic_platform: packages may be added to the platform (Intel).
        allow_cached_keys: platform keys may be cached by the registration server (Intel).
        allow_migration: a migration agent may be attached (AMD).
        allow_cxl: CXL memory and devices may be populated (AMD).
        allow_unchecked_aliases: memory need not have been checked for aliased addresses since the last reset (AMD).
    """

    registers: Annotated[
        dict[RegisterName, Annotated[tuple[Hex, ...], Field(min_length=1, max_length=64, strict=False)]],
        Field(max_length=48),
    ] = Field(default_factory=dict)
    hardware_ids: Annotated[tuple[Hex, ...], Field(min_length=1, max_length=1024, strict=False)] | None = None
    status: Annotated[tuple[Status, ...], Field(min_length=1, strict=False)] = ("UpToDate",)
    advisories: Annotated[tuple[Advisory, ...], Field(max_length=256, strict=False)] = ()
    grace_days: Annotated[int, Field(ge=0, le=3660)] = 0
    minimum_evaluation: Annotated[int, Field(ge=0, le=65535)] = 0
    products: Annotated[
        tuple[Annotated[Product, Field(strict=False)], ...], Field(max_length=len(Product), strict=False)
    ] = ()
    minimum_tcb: dict[TcbComponent, Annotated[int, Field(ge=0, le=255)]] = Field(default_factory=dict)
    mitigations: Annotated[int, Field(gt=0, lt=2**64)] | None = None
    isv_prod_id: Annotated[int, Field(ge=0, le=65535)] | None = None
    highest_vmpl: Annotated[int, Field(ge=0, le=3)] = 0
    guest_policy: Annotated[tuple[GuestPolicyBit, ...], Field(strict=False)] = ()
    allow_smt: bool = False
    allow_dynamic_platform: bool = False
    allow_cached_keys: bool = False
    allow_migration: bool = False
    allow_cxl: bool = False
    allow_unchecked_aliases: bool = False

    def faults(self, tee: Tee) -> list[str]:
        """Return what makes these requirements meaningless, or empty, for `tee`."""
        if tee not in _NEEDED:
            return [f"{tee} has no platform to demand anything of"]
        given = self.model_fields_set
        out_of_place = given & (_ALL_ELSE if tee is Tee.TPM else _AMD_ONLY if tee in INTEL else _INTEL_ONLY)
        if tee is not Tee.SGX:
            out_of_place |= given & {"isv_prod_id"}
        faults = [f"{name} does not apply to {tee}" for name in sorted(out_of_place)]
        faults += [f"no register {name} in {tee}" for name in sorted(self.registers.keys() - _REGISTERS[tee])]
        faults += self._register_faults(tee)
        if tee in AMD:
            faults += self._tcb_faults()
        if set(self.status) & set(OUTDATED) and not self.grace_days:
            faults.append("an outdated status is accepted with grace_days only")
        return faults

    def svn_faults(self, tee: Tee, minimum_svn: int) -> list[str]:
        """Return why a minimum of the security version says nothing, or empty: in SGX whoever signs chooses that."""
        if tee is Tee.SGX and minimum_svn > 0 and "mrsigner" not in self.registers:
            return [
                "says nothing without registers.mrsigner: whoever signs the same enclave chooses its version"
            ]
        return []

    def _register_faults(self, tee: Tee) -> Iterator[str]:
        for names in _NEEDED[tee]:
            given = [name for name in names if name in self.registers]
            if not given:
                yield f"registers lacks {' or '.join(names)}: without it any guest at all would be accepted"
            elif all(any(map(is_zero, self.registers[name])) for name in given):
                yield (
                    f"registers: {' and '.join(given)} may be zero, into which nothing was measured: any guest at all "
                    "would be accepted"
                )
        for name, others in BESIDE.items():
            for other in others if name in self.registers else ():
                if other not in self.registers:
                    yield (
                        f"registers lacks {other} beside {name}: without it any command line or addition to the kernel "
                        "would be accepted"
                    )

    def _tcb_faults(self) -> Iterator[str]:
        if not self.products:
            yield f"products is missing, which minimum_tcb is of: {', '.join(Product)}"
        for product in self.products or (Product.MILAN,):
            components = [component.name for component in TCB_LAYOUTS[product].fields]
            if self.minimum_tcb.keys() != set(components):
                yield f"minimum_tcb of {product} is of exactly {', '.join(components)}"


def is_zero(register: str) -> bool:
    """Return whether nothing was measured into a register (hex)."""
    return not register.strip("0")
