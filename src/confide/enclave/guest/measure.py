"""What the boot of a guest is measured as: it is booted for that, here, where its owner trusts the machine."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from confide import errors
from confide.enclave.guest.qemu import GuestMachine, guest
from confide.enclave.guest.request import GuestRequest
from confide.enclave.launcher import Launched
from confide.enclave.verify import VerifiedImage
from confide.errors import Unavailable

PINNED = ("pcr0", "pcr1", "pcr2", "pcr3", "pcr4", "pcr7", "pcr8", "pcr9", "pcr12")
"""Firmware, its configuration; programs on devices, none, and theirs; kernel; Secure Boot; boot loader, none; command
line with the image's measurement, and initrd; additions to a unified kernel image, none. One image in a machine of as
many processors gives them at each boot."""

_MAX_STATUS_BYTES = 64 * 1024


def measured_boot(machine: GuestMachine, home: Path, verified: VerifiedImage) -> dict[str, str]:
    """Return the PCRs (`pcr0`..`pcr23`, hex) of a guest that was started for an image; nothing of the image runs.

    Raises:
        Misuse, MissingDependency, Unavailable: as `guest`; or it does not come up.
    """
    asked = GuestRequest(tee="", launch={})
    with (
        tempfile.TemporaryDirectory(prefix="confide-no-data-") as empty,
        guest(machine, home, verified, asked, Path(empty)) as launched,
    ):
        return {f"pcr{index}": value for index, value in enumerate(_pcrs(launched))}


def _pcrs(launched: Launched) -> list[str]:
    with launched.control.makefile("rb") as stream:
        line = stream.readline(_MAX_STATUS_BYTES)
    try:
        said = json.loads(line)
        if "pcrs" in said:
            return list(said["pcrs"])
        told = errors.told(said.get("error"), str(said.get("message")))
    except (ValueError, TypeError, AttributeError):
        told = None
    launched.process.kill()
    launched.process.wait()
    console = bytes(launched.stderr).decode(errors="replace").strip()
    raise told or Unavailable(f"the guest did not come up. {console}".strip())
