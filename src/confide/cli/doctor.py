"""`confide doctor`: what this machine can do, and what to do about what is missing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from confide.cli.doctor_finding import ABSENT, MISSING, OK, Finding
from confide.cli.doctor_sgx import device, sgx_findings
from confide.cli.output import emit, stdout, table
from confide.errors import MissingDependency


def doctor(json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Say what this machine can do, and what to do about what is missing.

    Exits 0 if programs can run under the TEE `simulated`, 74 if something for that is missing.

    Example:

        confide doctor
    """
    findings = examine()
    if json:
        emit([asdict(finding) for finding in findings])
    else:
        rows = table("what", "state", "detail")
        colour = {OK: "green", MISSING: "red", ABSENT: "dim"}
        for finding in findings:
            detail = finding.detail + (f" → {finding.advice}" if finding.advice else "")
            rows.add_row(finding.what, Text(finding.state, style=colour[finding.state]), detail)
        stdout.print(rows)
    if any(finding.state == MISSING for finding in findings):
        raise typer.Exit(74)


def examine() -> list[Finding]:
    """Return every finding; starts a few `--version` commands, asks the kernel for no evidence, changes nothing."""
    return [
        Finding("Python", OK, platform.python_version()),
        _java(),
        _spark(),
        _bubblewrap(),
        _program("gocryptfs", "scratch space on disk (--scratch-disk)", "apt-get install gocryptfs fuse3"),
        _program("fusermount3", "mounts gocryptfs", "apt-get install fuse3"),
        _aes(),
        _memory(),
        device(
            "TDX or SNP guest",
            ("/sys/kernel/config/tsm/report",),
            "a confidential VM with Linux 6.7 or newer",
        ),
        _tee(),
        device("KVM", ("/dev/kvm",), "virtualisation enabled in the firmware"),
        device(
            "TPM", ("/dev/tpmrm0",), "a TPM 2.0, enabled in the firmware, and membership of the group tss"
        ),
        *_guests(),
        *sgx_findings(),
    ]


def _guests() -> list[Finding]:
    """Return what starts guests, virtual machines for the TEE `tpm`."""
    from confide.enclave.guest import qemu

    found = _version(qemu.QEMU, "--version")
    purpose = "starts guests (TEE `tpm`)"
    findings = [
        Finding("QEMU", OK, found)
        if found
        else Finding("QEMU", ABSENT, purpose, "apt-get install qemu-system-x86"),
        _program("swtpm", "the TPM of guests", "apt-get install swtpm"),
        _program("busybox", "what a guest begins with", "apt-get install busybox-static"),
    ]
    found_by: tuple[tuple[str, Callable[[], object]], ...] = (
        ("OVMF", qemu.firmware),
        ("virtiofsd", qemu.virtiofsd),
    )
    for what, find in found_by:
        try:
            findings.append(Finding(what, OK, str(find())))
        except MissingDependency as missing:
            findings.append(Finding(what, ABSENT, str(missing)))
    return findings


def _tee() -> Finding:
    from confide.enclave.issuers.find import detect

    found = detect()
    if not found:
        return Finding("evidence", ABSENT, "no hardware TEE gives evidence to a program here")
    return Finding("evidence", OK, ", ".join(f"{each.tee} from {each.by}" for each in found))


def _version(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (done.stdout + done.stderr).strip().partition("\n")[0] if done.returncode == 0 else None


def _java() -> Finding:
    found = _version("javac", "-version")
    advice = "apt-get install openjdk-17-jdk-headless"
    if found is None:
        return Finding("Java (JDK)", MISSING, "no javac on the PATH", advice)
    match = re.search(r"(\d+)", found)
    if match is None or int(match[1]) < 17:
        return Finding("Java (JDK)", MISSING, f"{found}, 17 or newer is needed", advice)
    return Finding("Java (JDK)", OK, found)


def _spark() -> Finding:
    try:
        return Finding("Spark", OK, f"pyspark {metadata.version('pyspark')}")
    except metadata.PackageNotFoundError:
        return Finding("Spark", MISSING, "pyspark is not installed", "pip install 'confide[spark]'")


def _bubblewrap() -> Finding:
    found = _version("bwrap", "--version")
    if found is None:
        return Finding("bubblewrap", MISSING, "confines simulated runs", "apt-get install bubblewrap")
    if _version("bwrap", "--ro-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "true") is None:
        return Finding(
            "bubblewrap",
            MISSING,
            f"{found}, but user namespaces are not allowed",
            "sysctl kernel.unprivileged_userns_clone=1",
        )
    return Finding("bubblewrap", OK, found)


def _program(name: str, purpose: str, advice: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, OK, path) if path else Finding(name, ABSENT, purpose, advice)


def _aes() -> Finding:
    try:
        flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")))
    except OSError:
        flags = set()
    have = [name for name in ("aes", "vaes", "sha_ni", "pclmulqdq", "vpclmulqdq") if name in flags]
    if "aes" in flags:
        return Finding("AES instructions", OK, " ".join(have))
    return Finding("AES instructions", ABSENT, "encryption will be slow", "use a processor with AES-NI")


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    state = OK if total >= 3.5 else MISSING
    return Finding(
        "memory",
        state,
        f"{total:.1f} GiB, {os.cpu_count()} cores",
        "" if state == OK else "4 GiB or more for Spark",
    )
