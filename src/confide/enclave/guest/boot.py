"""What runs in the guest once the kernel is up: find out which image it was started for, verify that, run it.

Everything from outside comes in through three holes, none of them trusted: the request (QEMU's fw_cfg), the image
(a disk), the data (virtiofs). States and an exit code leave through a fourth, the control port.
"""

from __future__ import annotations

import _thread
import base64
import contextlib
import json
import os
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from confide.attestation.amd.report import parse_report
from confide.attestation.claims import Tee
from confide.attestation.intel.quote import parse_quote
from confide.enclave.control import reported_name
from confide.enclave.guest.disk import unpack_disk
from confide.enclave.guest.request import (
    CONTROL_PORT,
    IMAGE_DISK,
    MAX_REQUEST_BYTES,
    MEASURED_PARAMETER,
    REQUEST_NAME,
    GuestRequest,
)
from confide.enclave.issuer import open_issuer
from confide.enclave.issuers.kernel_files import asking, read_attribute
from confide.enclave.issuers.tpm_device import open_tpm
from confide.enclave.run import RunRequest, run
from confide.errors import ConfideError, Misuse, Tampered, Unavailable

IMAGE, DATA = Path("/image"), Path("/data")

_REQUEST = Path("/sys/firmware/qemu_fw_cfg/by_name") / REQUEST_NAME / "raw"
_COMMAND_LINE = Path("/proc/cmdline")
_DISKS, _PORTS = Path("/sys/block"), Path("/sys/class/virtio-ports")
_MEASURED = re.compile(rf"(?:^|\s){re.escape(MEASURED_PARAMETER)}=(\S*)")
_DIGEST = re.compile(r"[0-9a-f]{64}")


def main() -> None:
    """Do what was asked, to the end of the workload."""
    port = _Port()
    try:
        request = _request()
        port.say("booted", **({} if request.tee else {"pcrs": _pcrs()}))
        if request.tee:
            port.stop_on_request()
            _run(request, port)
    except ConfideError as error:
        port.say("failed", error=reported_name(error), message=str(error))


def launched_with(tee: str, command_line: str) -> str:
    """Return the digest of the only image that this machine may run: what it was launched with, where that is measured.

    Raises:
        Tampered: it was launched with none, with several, or with something that is no such digest.
        AttestationRefused, Misuse, MissingDependency: the TEE is not here.
    """
    if tee == Tee.TPM:
        found = _MEASURED.findall(command_line)
        if len(found) != 1 or not _DIGEST.fullmatch(found[0]):
            raise Tampered(
                f"the kernel's command line does not say {MEASURED_PARAMETER}= once, with an image's digest"
            )
        return str(found[0])
    digest = _configuration(tee)
    if not digest[:32].strip(b"\0") or digest[32:].strip(b"\0"):
        raise Tampered(
            "the machine's configuration digest is not that of an image: SHA-256, padded with zeros"
        )
    return digest[:32].hex()


def _configuration(tee: str) -> bytes:
    """Return the configuration digest that the hardware was given at launch (Trustee's init-data convention)."""
    if tee == Tee.TDX:
        quote = parse_quote(base64.b64decode(open_issuer(tee).issue(bytes(64))["quote"]))
        return quote.octets("mrconfigid")
    if tee == Tee.SNP:
        report = parse_report(base64.b64decode(open_issuer(tee).issue(bytes(64))["attestation_report"]))
        return report.octets("host_data")
    raise Misuse(f"a guest gives evidence of {Tee.TPM}, {Tee.TDX} or {Tee.SNP}, and not of {tee!r}")


def _run(request: GuestRequest, port: _Port) -> None:
    digest = launched_with(request.tee, _COMMAND_LINE.read_text())
    with _disk().open("rb") as disk:
        unpack_disk(disk, digest, IMAGE)
    asked = RunRequest(
        image=IMAGE,
        tee=request.tee,
        home=Path("/nowhere"),  # of a simulated host's key: a guest has none
        brokers={},
        data_root=DATA,
        launch=request.launch,
    )

    def relay(status: Mapping[str, Any]) -> None:
        if status["state"] != "verified":  # said outside, of the same image
            port.say(**status)
        elif status["measurement"] != digest:
            raise Tampered(f"image {status['measurement']}, and this machine was started for {digest}")

    with contextlib.suppress(KeyboardInterrupt):
        run(asked, relay)


def _request() -> GuestRequest:
    try:
        return GuestRequest.from_json(read_attribute(_REQUEST, MAX_REQUEST_BYTES))
    except OSError as error:
        raise Misuse(f"no request ({REQUEST_NAME} of QEMU's fw_cfg): {error.strerror or error}") from None
    except ValidationError:
        raise Misuse("the request is not one") from None


def _pcrs() -> list[str]:
    with asking("the TPM"), open_tpm() as tpm:
        return [value.hex() for value in tpm.read_pcrs()]


def _disk() -> Path:
    for folder in sorted(_DISKS.iterdir()):
        with contextlib.suppress(OSError):
            if (folder / "serial").read_text().strip() == IMAGE_DISK:
                return Path("/dev") / folder.name
    raise Unavailable(f"no disk with the serial number {IMAGE_DISK}")


class _Port:
    """The line to whoever started the machine: a port of virtio-console."""

    def __init__(self) -> None:
        names = {path: (path / "name").read_text().strip() for path in _PORTS.iterdir()}
        device = next((path.name for path, name in names.items() if name == CONTROL_PORT), None)
        if device is None:
            raise SystemExit(f"no port {CONTROL_PORT} of virtio-console")
        self._descriptor = os.open(f"/dev/{device}", os.O_RDWR | os.O_CLOEXEC)

    def say(self, state: str, **details: Any) -> None:
        """Tell a state; nobody who listens is none of the workload's business."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, json.dumps({"state": state, **details}).encode() + b"\n")

    def stop_on_request(self) -> None:
        """From now on interrupt the main thread when the other side hangs up."""

        def wait() -> None:
            with contextlib.suppress(OSError):
                while os.read(self._descriptor, 1):
                    pass
            _thread.interrupt_main()

        threading.Thread(target=wait, name="control", daemon=True).start()
