"""Start a guest with QEMU: on the host's side, where nothing is trusted.

Its boot is measured: firmware, kernel, command line and initrd go into the TPM, and the command line says which image
the guest may run. For TDX and SNP the same guest is started by command lines of docs/confidential-vms.md.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from confide.canonical import canonical_json
from confide.enclave.guest.disk import write_disk
from confide.enclave.guest.request import (
    CONTROL_PORT,
    DATA_TAG,
    IMAGE_DISK,
    INITRD,
    KERNEL,
    MEASURED_PARAMETER,
    REQUEST_NAME,
    GuestRequest,
)
from confide.enclave.guest.software_tpm import tpm_for_guest
from confide.enclave.image import Image
from confide.enclave.launcher import Launched, collect_output
from confide.enclave.verify import VerifiedImage
from confide.errors import MissingDependency, Misuse, Unavailable

GATEWAY = "10.0.2.2"
"""Address by which a guest reaches the loopback address of the machine that it runs on (QEMU's user network)."""

QEMU = "qemu-system-x86_64"
FIRMWARES = (Path("/usr/share/ovmf/OVMF.fd"), Path("/usr/share/qemu/OVMF.fd"))
VIRTIOFSD = ("virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd")
ACCELERATORS = ("tcg", "kvm")

_MIB = 1024 * 1024
_SYSTEM_MIB = 768
"""What firmware, kernel and launcher take, beside image, workload and scratch space."""
_START_SECONDS = 20.0


@dataclass(frozen=True)
class GuestMachine:
    """The machine that a guest runs in.

    Attributes:
        folder: of the guest, as `build_guest` makes it.
        accelerator: QEMU's: `tcg` emulates the processor, `kvm` uses it.
        cores: processors.
    """

    folder: Path
    accelerator: str = "tcg"
    cores: int = 2


def check_machine(machine: GuestMachine) -> None:
    """Return if such machines can be started here.

    Raises:
        Misuse: no guest in that folder, or no accelerator of that name.
        MissingDependency: a program is not installed.
    """
    if machine.accelerator not in ACCELERATORS:
        raise Misuse(f"no accelerator called {machine.accelerator!r} (there are: {', '.join(ACCELERATORS)})")
    for name in (KERNEL, INITRD):
        if not (machine.folder / name).is_file():
            raise Misuse(f"no guest in {machine.folder} (no {name}): `confide guest build` makes one")
    if shutil.which(QEMU) is None:
        raise MissingDependency(f"guests run in QEMU ({QEMU}): apt-get install qemu-system-x86")
    if shutil.which("swtpm") is None:
        raise MissingDependency("a guest's TPM is swtpm: apt-get install swtpm")
    firmware()
    virtiofsd()


def firmware() -> Path:
    """Return the firmware, which measures what it starts.

    Raises:
        MissingDependency: it is not installed.
    """
    for path in FIRMWARES:
        if path.is_file():
            return path
    raise MissingDependency("a guest's firmware is OVMF, which is not installed: apt-get install ovmf")


def virtiofsd() -> str:
    """Return the program that shows a guest the data root.

    Raises:
        MissingDependency: it is not installed.
    """
    for name in VIRTIOFSD:
        if found := shutil.which(name):
            return found
    raise MissingDependency(
        "a guest sees the data by virtiofsd, which is not installed: apt-get install virtiofsd"
    )


def command_line(measurement: str) -> str:
    """Return the kernel's command line, which is measured, for a guest that may run one image."""
    return f"console=ttyS0 quiet loglevel=3 panic=-1 {MEASURED_PARAMETER}={measurement}"


@contextlib.contextmanager
def guest(
    machine: GuestMachine, home: Path, verified: VerifiedImage, request: GuestRequest, data_root: Path
) -> Iterator[Launched]:
    """Start a guest that may run one image, and yield it; what is left of it afterwards is ended.

    The image alone decides the machine's size and command line, so that its boot is always measured as the same.

    Args:
        machine: to run it in.
        home: holds the software TPM.
        verified: the image.
        request: what the guest is to do.
        data_root: folder that appears as `/work` inside.

    Raises:
        Misuse, MissingDependency: as `check_machine`.
        StorageUnavailable: no room for the disk.
        Unavailable: virtiofsd or swtpm does not start.
    """
    check_machine(machine)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="confide-guest-")))
        (folder / "request").write_bytes(canonical_json(request.model_dump(mode="json")))
        command = _machine(machine, verified)
        command += ["-fw_cfg", f"name={REQUEST_NAME},file={folder / 'request'}"]
        command += _tpm(stack.enter_context(tpm_for_guest(home)))
        write_disk(verified.folder, folder / "disk")
        command += _disk(folder / "disk")
        command += _data(stack.enter_context(_data_server(data_root, folder / "data")))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with theirs:
            process = subprocess.Popen(
                [*command, *_control(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is the runner's to handle
            )
        assert process.stdout is not None
        try:
            yield Launched(process, ours, collect_output(process.stdout))
        finally:
            process.kill()
            process.wait()
            ours.close()


def _machine(machine: GuestMachine, verified: VerifiedImage) -> list[str]:
    memory_mib = _memory_mib(verified.image)
    accelerator = "tcg,thread=multi" if machine.accelerator == "tcg" else machine.accelerator
    return [
        *(QEMU, "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"),
        *("-machine", "q35,smm=off,memory-backend=memory", "-accel", accelerator, "-cpu", "max"),
        *("-object", f"memory-backend-memfd,id=memory,size={memory_mib}M,share=on"),  # virtiofsd sees it
        *("-m", f"{memory_mib}M", "-smp", str(machine.cores), "-bios", str(firmware())),
        *("-kernel", str(machine.folder / KERNEL), "-initrd", str(machine.folder / INITRD)),
        *("-append", command_line(verified.measurement)),
        *("-netdev", "user,id=network", "-device", "virtio-net-pci,netdev=network,romfile="),
        *("-device", "virtio-rng-pci"),
    ]


def _memory_mib(image: Image) -> int:
    image_mib = sum(file.size for file in image.files) // _MIB + 1
    return _SYSTEM_MIB + image_mib + image.limits.memory_mib + image.limits.scratch_mib


def _tpm(address: Path) -> list[str]:
    return [
        *(
            "-chardev",
            f"socket,id=tpm-socket,path={address}",
            "-tpmdev",
            "emulator,id=tpm,chardev=tpm-socket",
        ),
        *("-device", "tpm-crb,tpmdev=tpm"),
    ]


def _disk(path: Path) -> list[str]:
    return [
        *("-drive", f"if=none,id=image,format=raw,readonly=on,file={path}"),
        *("-device", f"virtio-blk-pci,drive=image,serial={IMAGE_DISK}"),
    ]


def _data(address: Path) -> list[str]:
    return [
        *("-chardev", f"socket,id=data-socket,path={address}"),
        *("-device", f"vhost-user-fs-pci,chardev=data-socket,tag={DATA_TAG}"),
    ]


def _control(descriptor: int) -> list[str]:
    return [
        *("-chardev", f"socket,id=control,fd={descriptor}", "-device", "virtio-serial-pci"),
        *("-device", f"virtserialport,chardev=control,name={CONTROL_PORT}"),
    ]


@contextlib.contextmanager
def _data_server(data_root: Path, address: Path) -> Iterator[Path]:
    process = subprocess.Popen(
        [virtiofsd(), f"--socket-path={address}", "-o", f"source={data_root.resolve()}", "-o", "cache=auto"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not address.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                said = process.communicate()[0].decode(errors="replace").strip()
                raise Unavailable(f"virtiofsd did not start: {said}")
            time.sleep(0.01)
        yield address
    finally:
        process.kill()
        process.communicate()
