"""A policy document from verified evidence: as strict as the evidence allows, with what only the owner knows left open.

Format: docs/formats/policy.md. What is left open is marked so that no such document passes for a policy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from confide.attestation.amd.report import PlatformBit, PolicyBit
from confide.attestation.claims import Platform, Tee
from confide.attestation.requirements import AMD, BESIDE, INTEL, OUTDATED, RESTRICTIONS, is_zero
from confide.broker.policy import parse_policy

OPEN = "FILL_IN?"
"""What the owner fills in. No name, measurement, key or location has a question mark."""

_TEST = {f'"{OPEN}/{OPEN}"': '"owner/key"', f"/{OPEN}": "/key"}
_TDX = {
    "mrtd": "the virtual firmware",
    "rtmr0": "its configuration",
    "rtmr1": "boot loader and kernel",
    "rtmr2": "kernel command line, initrd, what they start",
}
_SNP = {
    "measurement": "firmware, and what the launcher measured with it (kernel, initrd, command line)",
}
_AZURE_TD = {
    "mrtd": "the paravisor",
    "td_attributes": "attributes of the TD: those of Azure have none, not even SEPT_VE_DISABLE",
}
_AZURE = {
    "pcr4": "the boot loader and every EFI program that was started",
    "pcr7": "Secure Boot: that it is on, and its keys",
    "pcr8": "command lines of GRUB, the kernel's among them; zero: there was none",
    "pcr9": "which files the boot loader read: kernel, initrd",
    "pcr11": "which unified kernel image (systemd) runs",
    "pcr12": "command line and credentials handed to that image; zero: there were none",
    "pcr13": "system extensions handed to it; zero: there were none",
}
_IDENTITY = {
    "mrsigner": "who signed the enclave; MRENCLAVE says more, this says who",
    "config_id": "configuration that it was started with (KSS)",
    "family_id": "family, set by the owner",
    "ext_prod_id": "extended product id (KSS)",
    "mrowner": "owner that the host stated",
    "mrownerconfig": "configuration by that owner",
    "image_id": "image, set by the owner",
    "id_key_digest": "key that signed the identity block",
    "author_key_digest": "key that certified that one",
}
"""Registers that are demanded where they are not zero."""
_OPTIONAL = {
    "rtmr3": "changes while the guest runs, if anything extends it",
    "mrseam": "the TDX module; changes with its every update, which the TCB status judges already",
    "td_attributes": "all attributes of the TD",
    "xfam": "extended registers that the TD may use",
    "attributes": "with the registers that the enclave may use, which differ from processor to processor",
    "misc_select": "details of exceptions",
    "pcr0": "the paravisor's firmware; changes when Azure updates it",
}
_MAY_BE_ZERO = {"td_attributes", "pcr8", "pcr12", "pcr13"}


@dataclass(frozen=True)
class Code:
    """What is known of the code.

    Attributes:
        tee: of the workload.
        measurement: of enclave or image; empty: the evidence does not say.
        svn: its security version; None: the evidence does not say.
        role: role of the image.
        isv_prod_id: product id (SGX).
        registers: register -> hex, for a SIGSTRUCT, which has no platform.
    """

    tee: Tee
    measurement: str = ""
    svn: int | None = None
    role: str = "driver"
    isv_prod_id: int | None = None
    registers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Skeleton:
    """A policy document to be completed.

    Attributes:
        toml: the document.
        open_lines: lines (from 1) with something to fill in.
        refused_here: what the evidence's own platform would be refused for, as the document stands.
    """

    toml: str
    open_lines: tuple[int, ...]
    refused_here: tuple[str, ...]


def policy_skeleton(
    code: Code,
    platform: Platform | None,
    *,
    source: str,
    owner: str | None,
    workload: str | None,
    now: int,
    days: int = 365,
) -> Skeleton:
    """Return the strictest policy under which this code runs on hardware no older than this.

    Args:
        code: what it is to run.
        platform: verified, and not of a debug TEE; None: nothing is known (SIGSTRUCT).
        source: what it is from, in a line.
        owner: whose policy; None: left open.
        workload: its name; None: left open.
        now: Unix seconds; the policy's validity begins there.
        days: of its validity.

    Raises:
        InvalidPolicy: owner or workload are no names.
    """
    refused: list[str] = []
    name = workload or OPEN
    lines = [
        f"# From {source}.",
        "# As strict as that allows: exactly this code, on hardware no older than this. Only the evidence was checked:",
        "# look at every line, fill in what is marked, then `confide policy check` and `confide policy apply`.",
        "version = 1",
        f'owner = "{owner or OPEN}"',
        "serial = 1",
        f"not_before = {_time(now)}",
        f"not_after = {_time(now + days * 86400)}",
        "",
        "[[workload]]",
        f'name = "{name}"',
        f'tee = "{code.tee}"',
        f'role = "{code.role}"',
        *_measurement(code),
        "",
        "[workload.platform]",
        *_demands(code, platform, refused),
        "",
        *_registers(code, platform, refused),
        "[[grant]]  # what it may use; one such table for each location",
        f'workload = "{name}"',
        f'location = "{OPEN}"',
        'access = "read"',
        'format = "table"',
        f'key = "{owner or OPEN}/{OPEN}"',
    ]
    toml = "\n".join(lines) + "\n"
    parse_policy(_completed(toml).encode())
    marked = (number for number, line in enumerate(lines, start=1) if OPEN in line)
    return Skeleton(toml, tuple(marked), tuple(refused))


def _completed(toml: str) -> str:
    """Return the document as if everything was filled in."""
    for marked, value in _TEST.items():
        toml = toml.replace(marked, value)
    toml = toml.replace(f'measurements = ["{OPEN}"]', f'measurements = ["{"0" * 64}"]')
    toml = re.sub(rf'^(\w+ = \["){re.escape(OPEN)}', r"\1ff", toml, flags=re.MULTILINE)
    return toml.replace(OPEN, "owner")


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _measurement(code: Code) -> list[str]:
    if not code.measurement:
        return [
            "# The evidence says which guest runs, not which image in it: its agent states that in an attestation.",
            "# `confide image build` and `confide policy allow` print the image's measurement.",
            f'measurements = ["{OPEN}"]',
        ]
    what = "MRENCLAVE" if code.tee is Tee.SGX else "of the image"
    lines = [f'measurements = ["{code.measurement}"]  # {what}']
    return lines if code.svn is None else [*lines, f"minimum_svn = {code.svn}"]


def _demands(code: Code, platform: Platform | None, refused: list[str]) -> list[str]:
    if platform is None:
        lines = ['status = ["UpToDate"]  # nothing is known of the hardware that it will run on']
    elif code.tee in INTEL:
        lines = _intel(platform, refused)
    else:
        lines = _amd(platform, refused)
    if code.isv_prod_id is not None:
        lines.append(f"isv_prod_id = {code.isv_prod_id}")
    if platform is not None:
        lines += _settings(code.tee, platform, refused)
        if platform.hardware_ids:
            lines += [
                "# Only on this very machine, against evidence relayed from another whose keys leaked:",
                f"# hardware_ids = [{_quoted(platform.hardware_ids)}]",
            ]
    return lines


def _intel(platform: Platform, refused: list[str]) -> list[str]:
    tcb = platform.tcb
    lines = []
    advisories = f"advisories = [{_quoted(tcb.advisories)}]"
    if tcb.status == "UpToDate":
        lines.append('status = ["UpToDate"]')
        lines += [advisories] if tcb.advisories else []
    elif tcb.status in OUTDATED:
        refused.append(f"TCB status {tcb.status}: update the platform")
        since = "" if tcb.date is None else f", dated {_time(tcb.date)[:10]}"
        lines += [
            f"# The evidence's platform is {tcb.status}{since}: known attacks work on it. Update it; to accept it for",
            "# a while nevertheless, name the status, its advisories, and the days after that date:",
            'status = ["UpToDate"]',
            f'# status = ["UpToDate", "{tcb.status}"]',
            "# grace_days = 30",
            *([f"# {advisories}"] if tcb.advisories else []),
        ]
    else:
        lines += [
            f"# {tcb.status} is what the evidence's platform reaches. Keep it only if the code is built with the",
            "# mitigations of these advisories (SWHardening), or its settings have to stay (Configuration):",
            f'status = ["UpToDate", "{tcb.status}"]',
            *([advisories] if tcb.advisories else []),
        ]
    if tcb.evaluation:
        lines.append(
            f"minimum_evaluation = {tcb.evaluation}  # never judged by older knowledge of Intel's than this"
        )
    return lines


def _amd(platform: Platform, refused: list[str]) -> list[str]:
    minimum = ", ".join(f"{name} = {version}" for name, version in platform.tcb.components.items())
    lines = [
        f'products = ["{platform.tcb.product}"]  # the numbers of one product say nothing of another\'s',
        f"minimum_tcb = {{ {minimum} }}  # the lowest of reported, committed and launch TCB",
    ]
    vmpl, policy = platform.numbers["vmpl"], platform.numbers["policy"]
    if vmpl:
        lines.append(f"highest_vmpl = {vmpl}  # under a paravisor or SVSM; 0 otherwise")
    if restrictions := [name for name, bit in RESTRICTIONS.items() if policy & bit]:
        lines.append(f"guest_policy = [{_quoted(restrictions)}]")
    if launch_and_current := platform.numbers["launch_mit_vector"] & platform.numbers["current_mit_vector"]:
        lines.append(f"mitigations = {launch_and_current:#x}  # in force at the launch and now")
    if not platform.numbers["platform_info"] & PlatformBit.ALIAS_CHECK_COMPLETE:
        refused.append("memory was not checked for aliased addresses (allow_unchecked_aliases)")
        lines += [
            "# Memory was not checked for aliased addresses (BadRAM). Update the firmware, or accept it:",
            "# allow_unchecked_aliases = true",
        ]
    for bit, name, what in (
        (PolicyBit.MIGRATE_MA, "allow_migration", "a migration agent"),
        (PolicyBit.CXL_ALLOW, "allow_cxl", "CXL"),
    ):
        if policy & bit:
            refused.append(f"the guest policy admits {what}")
            lines += [
                f"# The guest policy admits {what}. Start the guest without, or accept it:",
                f"# {name} = true",
            ]
    return lines


def _settings(tee: Tee, platform: Platform, refused: list[str]) -> list[str]:
    tcb = platform.tcb
    smt_policy = tee in AMD and bool(platform.numbers["policy"] & PolicyBit.SMT)
    lines = []
    smt = "hyperthreads are on" if tcb.smt is not None else "nothing says that hyperthreads are off"
    smt += ", or the guest policy admits them" if tee in AMD else ""
    for on, name, what in (
        (tcb.smt is not False or smt_policy, "allow_smt", smt),
        (tcb.dynamic_platform, "allow_dynamic_platform", "packages can be added to it, as to most servers"),
        (
            tcb.cached_keys,
            "allow_cached_keys",
            "Intel's registration server keeps its keys, as of most servers",
        ),
    ):
        if on:
            refused.append(f"{what} ({name})")
            lines += [f"# The evidence's platform: {what}. To accept that:", f"# {name} = true"]
    return lines


def _registers(code: Code, platform: Platform | None, refused: list[str]) -> list[str]:
    values = dict(code.registers if platform is None else platform.registers)
    demanded = _demanded(code.tee, values)
    lines = []
    if demanded:
        lines.append("[workload.platform.registers]  # exactly these values; more may be listed beside each")
    for name, what in demanded.items():
        value = values[name]
        lines.append(f"# {name}: {what}")
        if is_zero(value) and name not in _MAY_BE_ZERO:
            refused.append(f"{name} is zero: nothing says {what}")
            lines.append("# Zero in the evidence, so it pins nothing: such a guest cannot be approved.")
            value = OPEN
        lines.append(f'{name} = ["{value}"]')
    left = {name: what for name, what in _OPTIONAL.items() if name in values and name not in demanded}
    if left:
        lines.append("# Not demanded:")
        for name, what in left.items():
            lines += [f"# {name}: {what}", f'# {name} = ["{values[name]}"]']
    return [*lines, ""]


def _demanded(tee: Tee, values: Mapping[str, str]) -> dict[str, str]:
    """Return the registers to demand, each with what it says."""
    wanted = {Tee.SGX: {}, Tee.TDX: _TDX, Tee.SNP: _SNP}.get(tee)
    if wanted is None:
        kernel = [name for name in BESIDE if not is_zero(values[name])] or ["pcr9"]
        pcrs = {"pcr4", *kernel, *(other for name in kernel for other in BESIDE[name])}
        pcrs |= set() if is_zero(values["pcr7"]) else {"pcr7"}
        hardware = _SNP if tee is Tee.AZURE_SNP else _AZURE_TD
        wanted = hardware | {name: what for name, what in _AZURE.items() if name in pcrs}
    identity = {name: what for name, what in _IDENTITY.items() if not is_zero(values.get(name, ""))}
    return wanted | identity


def _quoted(values: Iterable[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)
