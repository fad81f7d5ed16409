"""What TCB statuses, advisories and settings mean, and what to do about each: on the platform, and in a policy.

Sources: Intel SGX and TDX Provisioning Certification Service, API version 4 ("tcbStatus", "advisoryIDs"); Intel support
article 000057197 on advisories in attestation; Intel's TCB recovery guidance of each quarter; docs/attestation.md.
"""

from __future__ import annotations

from collections.abc import Iterator

from confide.attestation.claims import Tcb, Tee
from confide.attestation.explain.document import Advice, TcbState
from confide.attestation.requirements import INTEL, OUTDATED

_UPDATE = (
    "update BIOS or microcode, and for TDX the TDX module and its loader; restart; register the platform anew"
)
_STATUSES = {
    "UpToDate": (
        "everything that Intel has fixed is in place",
        "nothing to do",
        "accepted unless it says otherwise",
    ),
    "SWHardeningNeeded": (
        "platform up to date; some advisories are mitigated only by how the enclave is built",
        "nothing helps on the platform: build the enclave with the mitigations that the advisories name",
        'status = ["UpToDate", "SWHardeningNeeded"], and each advisory, once the enclave is built so',
    ),
    "ConfigurationNeeded": (
        "platform up to date; a setting of the BIOS leaves something open",
        "change the settings that the advisories name (often: hyperthreading, overclocking lock, graphics)",
        'status = ["UpToDate", "ConfigurationNeeded"], and each advisory, if the setting has to stay',
    ),
    "ConfigurationAndSWHardeningNeeded": (
        "platform up to date; a setting of the BIOS leaves something open, and the enclave must be built for the rest",
        "change the settings that the advisories name; build the enclave with the mitigations that they name",
        'status = ["UpToDate", "ConfigurationAndSWHardeningNeeded"], and each advisory',
    ),
    "OutOfDate": (
        "something that Intel has fixed is not in place: known attacks work",
        _UPDATE,
        'status = ["UpToDate", "OutOfDate"] with grace_days = N: days after the date of the level; and each advisory',
    ),
    "OutOfDateConfigurationNeeded": (
        "something that Intel has fixed is not in place, and a setting of the BIOS leaves more open",
        f"{_UPDATE}; then change the settings that the advisories name",
        'status = ["UpToDate", "OutOfDateConfigurationNeeded"] with grace_days = N; and each advisory',
    ),
    "Revoked": (
        "Intel has revoked this level: its keys may be known",
        "take the platform out of service",
        "",
    ),
}
_ADVISORIES = {
    "INTEL-SA-00161": ("L1 Terminal Fault (L1TF, Foreshadow)", "update microcode; turn hyperthreading off"),
    "INTEL-SA-00219": (
        "processor graphics can read enclave memory",
        "turn integrated graphics off, or build the enclave with special memory handling",
    ),
    "INTEL-SA-00233": ("microarchitectural data sampling (MDS)", "update microcode; turn hyperthreading off"),
    "INTEL-SA-00289": (
        "voltage settings can be changed (Plundervolt)",
        "update the BIOS, and turn its overclocking lock on",
    ),
    "INTEL-SA-00334": (
        "load value injection (LVI)",
        "build the enclave with a toolchain that mitigates it; on affected processors the advisory stays",
    ),
    "INTEL-SA-00614": ("SGX advisory of the microcode of August 2022", "update BIOS and microcode"),
    "INTEL-SA-00615": (
        "stale data of memory-mapped I/O (MMIO)",
        "update microcode; build the enclave with the mitigations of Intel's guidance, or turn hyperthreading off; on "
        "affected processors the advisory stays",
    ),
    "INTEL-SA-00657": ("stale data of the xAPIC (AEPIC leak)", "update microcode; use x2APIC"),
    "INTEL-SA-00730": ("advisory on 3rd generation Xeon Scalable processors", "update BIOS and microcode"),
    "INTEL-SA-00738": ("advisory on Xeon processors, platform update 2023.1", "update BIOS and microcode"),
    "INTEL-SA-00767": ("advisory on processors, platform update 2023.1", "update BIOS and microcode"),
    "INTEL-SA-00828": ("gather data sampling (Downfall)", "update microcode"),
    "INTEL-SA-00837": ("advisory on Xeon processors, platform update 2023.3", "update BIOS and microcode"),
    "INTEL-DOC-10000": (
        "Intel has ended regular updates for this processor (end of servicing updates)",
        "plan its replacement: later findings may stay open",
    ),
    "INTEL-DOC-10001": (
        "Intel has ended all updates for this processor (end of servicing lifetime)",
        "replace it: later findings stay open",
    ),
}
_PAGE = "https://www.intel.com/content/www/us/en/security-center/advisory/{}.html"
_DOCUMENT = "https://api.portal.trustedservices.intel.com/documents/{}"
STATUSES = tuple(_STATUSES)


def page_of(advisory: str) -> str:
    """Return where Intel explains an advisory."""
    return _DOCUMENT.format(advisory) if "-DOC-" in advisory else _PAGE.format(advisory.lower())


def tcb_state(tee: Tee, tcb: Tcb, *, verified: bool = True) -> TcbState:
    """Return a state in words.

    Args:
        tee: whose it is.
        tcb: of a verified platform, or what is known of one that was refused.
        verified: which of the two.
    """
    advice = tuple(_of_intel(tcb) if tee in INTEL else _of_amd(tcb))
    settings = tuple(_settings(tcb))
    return TcbState(tcb.status, tcb.date, tcb.evaluation, tcb.advisories, verified, advice + settings)


def _of_intel(tcb: Tcb) -> Iterator[Advice]:
    yield Advice(
        tcb.status, *_STATUSES.get(tcb.status, ("a status that is not known here", "see Intel's service", ""))
    )
    for advisory in tcb.advisories:
        meaning, platform = _ADVISORIES.get(
            advisory, ("a finding of Intel's", _UPDATE if tcb.status in OUTDATED else "as the page says")
        )
        page = page_of(advisory)
        yield Advice(advisory, f"{meaning}; {page}", platform, f'advisories = ["{advisory}"]')


def _of_amd(tcb: Tcb) -> Iterator[Advice]:
    lowest = ", ".join(f"{name} = {version}" for name, version in tcb.components.items())
    yield Advice(
        "TCB versions",
        "AMD publishes no verdict on versions: the owner says which are high enough",
        "update BIOS and SNP firmware to what AMD's security bulletins ask for, and commit it",
        f'products = ["{tcb.product}"] and minimum_tcb = {{ {lowest} }} accept no less than this',
    )


def _settings(tcb: Tcb) -> Iterator[Advice]:
    for on, about, meaning, platform, name in (
        (
            tcb.smt,
            "hyperthreads",
            "on: siblings share caches, which side channels use",
            "turn hyperthreading (SMT) off",
            "allow_smt",
        ),
        (
            tcb.dynamic_platform,
            "dynamic platform",
            "packages can be added to this kind of platform; most servers with several sockets are of it",
            "nothing: the kind of platform",
            "allow_dynamic_platform",
        ),
        (
            tcb.cached_keys,
            "cached keys",
            "Intel's registration server keeps the platform's keys; so most servers are registered",
            "register by the indirect way, so that keys stay in the platform",
            "allow_cached_keys",
        ),
    ):
        if on:
            yield Advice(about, meaning, platform, f"{name} = true")
