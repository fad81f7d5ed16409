"""What the boot of a guest is measured as: it is booted for that, here, where its owner trusts the machine."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from confide.enclave.guest.qemu import GuestMachine, guest
from confide.enclave.guest.request import GuestRequest
from confide.enclave.launcher import Launched
from confide.enclave.verify import VerifiedImage
from confide.errors import Unavailable

PINNED = ("pcr0", "pcr4", "pcr7", "pcr9")
"""Firmware; kernel; Secure Boot; command line with the image's measurement, and initrd."""


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
        line = stream.readline(64 * 1024)
    try:
        return list(json.loads(line)["pcrs"])
    except (ValueError, KeyError, TypeError):
        launched.process.kill()
        launched.process.wait()
        said = bytes(launched.stderr).decode(errors="replace").strip()
        raise Unavailable(f"the guest did not come up. {said}".strip()) from None
