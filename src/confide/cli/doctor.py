"""`confide doctor`: what this machine can do, and what to do about what is missing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from confide.cli.output import emit, stdout, table
from confide.errors import MissingDependency

_OK, _MISSING, _ABSENT = "ok", "missing", "not here"


@dataclass(frozen=True)
class Finding:
    """One line of the report. `state`: ok, missing (needed for simulated runs), not here (optional hardware)."""

    what: str
    state: str
    detail: str
    advice: str = ""


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
        colour = {_OK: "green", _MISSING: "red", _ABSENT: "dim"}
        for finding in findings:
            detail = finding.detail + (f" → {finding.advice}" if finding.advice else "")
            rows.add_row(finding.what, Text(finding.state, style=colour[finding.state]), detail)
        stdout.print(rows)
    if any(finding.state == _MISSING for finding in findings):
        raise typer.Exit(74)


def examine() -> list[Finding]:
    """Return every finding; starts a few `--version` commands, asks the kernel for no evidence, changes nothing."""
    return [
        Finding("Python", _OK, platform.python_version()),
        _java(),
        _spark(),
        _bubblewrap(),
        _program("gocryptfs", "scratch space on disk (--scratch-disk)", "apt-get install gocryptfs fuse3"),
        _program("fusermount3", "mounts gocryptfs", "apt-get install fuse3"),
        _aes(),
        _memory(),
        _device(
            "SGX",
            ("/dev/sgx_enclave", "/dev/sgx/enclave"),
            "an SGX processor, enabled in the firmware; Linux 5.11 or newer",
        ),
        _device(
            "SGX provisioning",
            ("/dev/sgx_provision", "/dev/sgx/provision"),
            "add the user to the group sgx_prv",
        ),
        _device(
            "TDX or SNP guest",
            ("/sys/kernel/config/tsm/report",),
            "a confidential VM with Linux 6.7 or newer",
        ),
        _tee(),
        _device("KVM", ("/dev/kvm",), "virtualisation enabled in the firmware"),
        _device(
            "TPM", ("/dev/tpmrm0",), "a TPM 2.0, enabled in the firmware, and membership of the group tss"
        ),
        *_guests(),
        _program("gramine-sgx", "SGX images", "see gramineproject.io for packages"),
        _program("gramine-direct", "trying SGX images without SGX", "see gramineproject.io for packages"),
        _program("occlum", "SGX images", "see occlum.io for packages"),
    ]


def _guests() -> list[Finding]:
    """Return what starts guests, virtual machines for the TEE `tpm`."""
    from confide.enclave.guest import qemu

    found = _version(qemu.QEMU, "--version")
    purpose = "starts guests (TEE `tpm`)"
    findings = [
        Finding("QEMU", _OK, found)
        if found
        else Finding("QEMU", _ABSENT, purpose, "apt-get install qemu-system-x86"),
        _program("swtpm", "the TPM of guests", "apt-get install swtpm"),
        _program("busybox", "what a guest begins with", "apt-get install busybox-static"),
    ]
    found_by: tuple[tuple[str, Callable[[], object]], ...] = (
        ("OVMF", qemu.firmware),
        ("virtiofsd", qemu.virtiofsd),
    )
    for what, find in found_by:
        try:
            findings.append(Finding(what, _OK, str(find())))
        except MissingDependency as missing:
            findings.append(Finding(what, _ABSENT, str(missing)))
    return findings


def _tee() -> Finding:
    from confide.enclave.issuers.find import detect

    found = detect()
    if not found:
        return Finding("evidence", _ABSENT, "no hardware TEE gives evidence to a program here")
    return Finding("evidence", _OK, ", ".join(f"{each.tee} from {each.by}" for each in found))


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
        return Finding("Java (JDK)", _MISSING, "no javac on the PATH", advice)
    match = re.search(r"(\d+)", found)
    if match is None or int(match[1]) < 17:
        return Finding("Java (JDK)", _MISSING, f"{found}, 17 or newer is needed", advice)
    return Finding("Java (JDK)", _OK, found)


def _spark() -> Finding:
    try:
        return Finding("Spark", _OK, f"pyspark {metadata.version('pyspark')}")
    except metadata.PackageNotFoundError:
        return Finding("Spark", _MISSING, "pyspark is not installed", "pip install 'confide[spark]'")


def _bubblewrap() -> Finding:
    found = _version("bwrap", "--version")
    if found is None:
        return Finding("bubblewrap", _MISSING, "confines simulated runs", "apt-get install bubblewrap")
    if _version("bwrap", "--ro-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "true") is None:
        return Finding(
            "bubblewrap",
            _MISSING,
            f"{found}, but user namespaces are not allowed",
            "sysctl kernel.unprivileged_userns_clone=1",
        )
    return Finding("bubblewrap", _OK, found)


def _program(name: str, purpose: str, advice: str) -> Finding:
    path = shutil.which(name)
    return Finding(name, _OK, path) if path else Finding(name, _ABSENT, purpose, advice)


def _aes() -> Finding:
    try:
        flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace")))
    except OSError:
        flags = set()
    have = [name for name in ("aes", "vaes", "sha_ni", "pclmulqdq", "vpclmulqdq") if name in flags]
    if "aes" in flags:
        return Finding("AES instructions", _OK, " ".join(have))
    return Finding("AES instructions", _ABSENT, "encryption will be slow", "use a processor with AES-NI")


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    state = _OK if total >= 3.5 else _MISSING
    return Finding(
        "memory",
        state,
        f"{total:.1f} GiB, {os.cpu_count()} cores",
        "" if state == _OK else "4 GiB or more for Spark",
    )


def _device(what: str, paths: tuple[str, ...], advice: str) -> Finding:
    for path in paths:
        if Path(path).exists():
            usable = os.access(path, os.R_OK | os.W_OK)
            return (
                Finding(what, _OK, path)
                if usable
                else Finding(what, _ABSENT, f"{path} is not accessible", advice)
            )
    return Finding(what, _ABSENT, "", advice)
