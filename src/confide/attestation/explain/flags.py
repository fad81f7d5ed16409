"""Bits of attributes, policies and settings, by their names in the vendors' manuals.

Sources: Intel SDM volume 3D (ATTRIBUTES, XFRM, MISCSELECT); Intel TDX Module ABI specification (TD_PARAMS.ATTRIBUTES,
XFAM); SEV Secure Nested Paging Firmware ABI specification (Guest Policy, PLATFORM_INFO, KEY_INFO).
"""

from __future__ import annotations

from collections.abc import Mapping

from confide.attestation.explain.document import Flag

Bits = Mapping[int, tuple[str, str]]

SGX_ATTRIBUTES: Bits = {
    0: ("INIT", "the enclave is initialised"),
    1: ("DEBUG", "whoever runs the enclave can read and change its memory: it protects nothing"),
    2: ("MODE64BIT", "64-bit mode"),
    4: ("PROVISIONKEY", "may derive the provisioning key, which identifies the processor"),
    5: ("EINITTOKEN_KEY", "may derive the key of launch tokens"),
    6: ("CET", "control-flow enforcement"),
    7: ("KSS", "key separation and sharing: config_id, config_svn, family_id, ext_prod_id count"),
    10: ("AEXNOTIFY", "is told of interruptions"),
}
XFRM: Bits = {
    0: ("x87", "legacy floating point"),
    1: ("SSE", "SSE registers"),
    2: ("AVX", "AVX registers"),
    3: ("BNDREGS", "MPX bounds"),
    4: ("BNDCSR", "MPX configuration"),
    5: ("AVX512_opmask", "AVX-512"),
    6: ("AVX512_ZMM_Hi256", "AVX-512"),
    7: ("AVX512_Hi16_ZMM", "AVX-512"),
    8: ("PT", "processor trace"),
    9: ("PKRU", "protection keys"),
    10: ("PASID", "process address space ids"),
    11: ("CET_U", "control-flow enforcement, user"),
    12: ("CET_S", "control-flow enforcement, supervisor"),
    13: ("HDC", "hardware duty cycling"),
    14: ("UINTR", "user interrupts"),
    15: ("LBR", "last branch records"),
    16: ("HWP", "performance states"),
    17: ("AMX_TILECFG", "AMX tiles"),
    18: ("AMX_TILEDATA", "AMX tiles"),
    19: ("APX", "extended general registers"),
}
MISC_SELECT: Bits = {
    0: ("EXINFO", "page faults are reported to the enclave"),
    1: ("CPINFO", "control protection exceptions are reported to the enclave"),
}
TD_ATTRIBUTES: Bits = {
    0: ("DEBUG", "the host can read and change the TD: it protects nothing"),
    4: ("HGS_PLUS_PROF", "can be profiled by hardware-guided scheduling"),
    5: ("PERF_PROF", "can be profiled by performance monitoring of the host"),
    6: ("PMT_PROF", "can be profiled by platform monitoring"),
    16: ("ICSSD", "explained in Intel's manual only"),
    27: ("LASS", "linear address space separation"),
    28: (
        "SEPT_VE_DISABLE",
        "the host cannot inject exceptions by taking pages away; must be set, but in Azure's TDs",
    ),
    29: ("MIGRATABLE", "may be migrated to another machine"),
    30: ("PKS", "supervisor protection keys"),
    31: ("KL", "key locker"),
    62: ("TPA", "a TDX Connect provisioning agent"),
    63: ("PERFMON", "may use performance monitoring itself"),
}
GUEST_POLICY: Bits = {
    16: ("SMT", "may run on a machine with hyperthreads on"),
    17: ("reserved", "always 1"),
    18: ("MIGRATE_MA", "a migration agent may be attached, which can move the guest's memory"),
    19: ("DEBUG", "the host may read and change the guest: it protects nothing"),
    20: ("SINGLE_SOCKET", "only on one socket"),
    21: ("CXL_ALLOW", "CXL memory and devices may be populated"),
    22: ("MEM_AES_256_XTS", "memory only under AES-256-XTS"),
    23: ("RAPL_DIS", "only with power measurement (RAPL) off"),
    24: ("CIPHERTEXT_HIDING_DRAM", "only with ciphertext hiding in DRAM"),
    25: ("PAGE_SWAP_DISABLE", "the host cannot move or swap its pages"),
}
PLATFORM_INFO: Bits = {
    0: ("SMT_EN", "hyperthreads are on"),
    1: ("TSME_EN", "all memory is encrypted (TSME)"),
    2: ("ECC_EN", "memory corrects errors (ECC)"),
    3: ("RAPL_DIS", "power measurement (RAPL) is off"),
    4: ("CIPHERTEXT_HIDING_DRAM_EN", "ciphertext in DRAM is hidden from the host"),
    5: ("ALIAS_CHECK_COMPLETE", "memory was checked for aliased addresses since the last reset (BadRAM)"),
    7: ("SEV_TIO_EN", "trusted devices (SEV-TIO) are on"),
}
KEY_INFO: Bits = {
    0: ("AUTHOR_KEY_EN", "author_key_digest counts"),
    1: ("MASK_CHIP_KEY", "the host keeps the chip's own key from being used"),
}


def decode(value: int, bits: Bits, *, matter: tuple[int, ...] = ()) -> tuple[Flag, ...]:
    """Return the flags of a number: those that are set, and of the rest those in `matter`; unknown ones by position."""
    flags = []
    for position in range(64):
        is_set = bool(value >> position & 1)
        if is_set or position in matter:
            name, meaning = bits.get(position, (f"bit {position}", "not known here"))
            flags.append(Flag(name, is_set, meaning))
    return tuple(flags)


def little(value: bytes) -> int:
    """Return the number that bytes are, the lowest first."""
    return int.from_bytes(value, "little")
