"""What `confide doctor` says of SGX and of the library OSes: processor, kernel, devices, collateral, versions."""

from __future__ import annotations

import os
import platform
import re
import shutil
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

from confide.cli.doctor_finding import ABSENT, OK, Finding
from confide.cli.enclaves import kernel_version

CPUINFO = Path("/proc/cpuinfo")
NODES = Path("/sys/devices/system/node")
QCNL = Path("/etc/sgx_default_qcnl.conf")
DRIVER_KERNEL = (5, 11)
MAPS = Path("/proc/sys/vm/max_map_count")
MAPS_WANTED = 1_000_000
_ENCLAVE = ("/dev/sgx_enclave", "/dev/sgx/enclave")
_PROVISION = ("/dev/sgx_provision", "/dev/sgx/provision")
_PCCS_SECONDS = 3.0


def sgx_findings() -> list[Finding]:
    """Return every finding; asks for no quote and no key, and changes nothing."""
    flags = cpu_flags()
    return [
        processor(flags),
        epc(),
        fsgsbase(flags),
        kernel(platform.release()),
        device("SGX", _ENCLAVE, "an SGX processor, enabled in the firmware; Linux 5.11 or newer; group sgx"),
        device("SGX provisioning", _PROVISION, "add the user to the group sgx_prv"),
        pccs(),
        maps(),
        tool("gramine-direct", "trying SGX images without SGX"),
        tool("gramine-sgx", "starting SGX images"),
        tool("gramine-sgx-sign", "signing and measuring SGX images"),
        occlum(),
    ]


def cpu_flags(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Return the flags that the kernel shows of the processor."""
    try:
        found = re.search(r"^flags\s*:(.*)$", cpuinfo.read_text("ascii", "replace"), re.MULTILINE)
    except OSError:
        return frozenset()
    return frozenset(found[1].split()) if found else frozenset()


def processor(flags: frozenset[str]) -> Finding:
    """Return whether the processor has SGX with flexible launch control, which Linux asks for."""
    if "sgx" not in flags:
        return Finding(
            "SGX processor", ABSENT, "no flag sgx", "an Intel Xeon with SGX, enabled in the firmware"
        )
    if "sgx_lc" not in flags:
        return Finding("SGX processor", ABSENT, "sgx, but not sgx_lc", "enable flexible launch control (FLC)")
    return Finding("SGX processor", OK, "sgx sgx_lc")


def epc(nodes: Path = NODES) -> Finding:
    """Return the size of the enclave page cache, which holds what enclaves use at one time."""
    sizes = []
    for path in nodes.glob("node*/x86/sgx_total_bytes"):
        try:
            sizes.append(int(path.read_text()))
        except (OSError, ValueError):
            continue
    if not sum(sizes):
        return Finding(
            "EPC", ABSENT, "size not shown", "Linux 5.17 or newer shows it; enable SGX in the firmware"
        )
    size = sum(sizes) / 2**30
    advice = "" if size >= 4 else "raise PRMRR in the firmware: Spark swaps below 4 GiB"
    return Finding("EPC", OK, f"{size:.1f} GiB", advice)


def fsgsbase(flags: frozenset[str]) -> Finding:
    """Return whether programs may set the bases of FS and GS themselves, which Gramine does."""
    if "fsgsbase" in flags:
        return Finding("FSGSBASE", OK, "")
    return Finding("FSGSBASE", ABSENT, "Gramine needs it", "Linux 5.9 or newer, without nofsgsbase")


def kernel(release: str) -> Finding:
    """Return what the kernel can do for enclaves."""
    from confide.enclave.gramine.sizes import EDMM_KERNEL, edmm_possible

    version = kernel_version(release)
    if version < DRIVER_KERNEL:
        return Finding("SGX driver", ABSENT, f"Linux {release}", "Linux 5.11 or newer has it")
    wanted = ".".join(map(str, EDMM_KERNEL))
    grow = "and lets enclaves grow" if edmm_possible(version) else f"(enclaves grow from {wanted} on)"
    return Finding("SGX driver", OK, f"Linux {release} has it {grow}")


def pccs(configuration: Path = QCNL, seconds: float = _PCCS_SECONDS) -> Finding:
    """Return whether the cache of collateral that the quoting library asks can be reached."""
    try:
        text = configuration.read_text("utf-8", "replace")
    except OSError:
        return Finding("PCCS", ABSENT, f"no {configuration}", "set pccs_url there, or quotes are not made")
    found = re.search(r'^[^#\n/]*?"?pccs_url"?\s*[:=]\s*"?([^",\s]+)', text, re.IGNORECASE | re.MULTILINE)
    url = urlsplit(found[1]) if found else None
    if url is None or not url.hostname:
        return Finding("PCCS", ABSENT, f"no pccs_url in {configuration}", "set it, or quotes are not made")
    try:
        with socket.create_connection((url.hostname, url.port or 443), seconds):
            return Finding("PCCS", OK, f"{url.hostname} answers")
    except (OSError, ValueError) as error:
        return Finding("PCCS", ABSENT, f"{url.hostname}: {error}", "start it, or correct pccs_url")


def maps(path: Path = MAPS) -> Finding:
    """Return whether a process may have as many mappings as Gramine makes when a program forks."""
    try:
        most = int(path.read_text())
    except (OSError, ValueError):
        return Finding("memory mappings", ABSENT, "not shown")
    if most >= MAPS_WANTED:
        return Finding("memory mappings", OK, f"{most:,}")
    return Finding(
        "memory mappings",
        ABSENT,
        f"{most:,}: large programs may fail to start children under Gramine",
        f"sysctl vm.max_map_count={4 * MAPS_WANTED}",
    )


def device(what: str, paths: tuple[str, ...], advice: str) -> Finding:
    """Return whether one of the devices is there and accessible."""
    for path in paths:
        if Path(path).exists():
            if os.access(path, os.R_OK | os.W_OK):
                return Finding(what, OK, path)
            return Finding(what, ABSENT, f"{path} is not accessible", advice)
    return Finding(what, ABSENT, "", advice)


def occlum() -> Finding:
    """Return where Occlum lies and its version, which no command of its tells."""
    path = shutil.which("occlum")
    if path is None:
        advice = "packages: occlum.io (docs/enclaves.md)"
        return Finding("occlum", ABSENT, "SGX images with several processes in one enclave", advice)
    header = Path(path).resolve().parents[2] / "include" / "occlum_version.h"
    try:
        text = header.read_text("ascii", "replace")
    except OSError:
        text = ""
    numbers = dict(re.findall(r"#define\s+OCCLUM_(MAJOR|MINOR|PATCH)_VERSION\s+(\d+)", text))
    if len(numbers) != 3:
        return Finding("occlum", OK, f"{path}: its version is not shown")
    return Finding("occlum", OK, f"{path}: {numbers['MAJOR']}.{numbers['MINOR']}.{numbers['PATCH']}")


def tool(name: str, purpose: str) -> Finding:
    """Return where a tool of Gramine lies and its version."""
    path = shutil.which(name)
    if path is None:
        return Finding(name, ABSENT, purpose, "packages: gramineproject.io (docs/enclaves.md)")
    if name == "gramine-sgx-sign":  # has no option for that
        return Finding(name, OK, path)
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
        said = (done.stdout or done.stderr).strip().partition("\n")[0]
    except (OSError, subprocess.TimeoutExpired) as error:
        said = str(error)
    if not re.search(r"\b1\.9\b", said):
        return Finding(name, ABSENT, f"{said or path}: another version", "images are made for Gramine 1.9")
    return Finding(name, OK, f"{path}: {said}")
