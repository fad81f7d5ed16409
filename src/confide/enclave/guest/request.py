"""What a guest is asked to do, and the names by which both sides find one another. Nothing here is secret or measured.

What is measured says which image may run: `MEASURED_PARAMETER` on the kernel's command line, or the configuration
digest of the hardware.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from confide.attestation.evidence import LaunchName
from confide.document import StrictModel

KERNEL, INITRD = "vmlinuz", "initrd"
"""Files of a guest's folder."""
MAX_REQUEST_BYTES = 256 * 1024
REQUEST_NAME = "opt/confide/request"  # of QEMU's fw_cfg
CONTROL_PORT = "confide.control"  # of virtio-console
IMAGE_DISK = "confide-image"  # serial number
DATA_TAG = "confide-data"  # of virtiofs
MEASURED_PARAMETER = "confide.image"


class GuestRequest(StrictModel):
    """What the guest is to do.

    Attributes:
        tee: kind of TEE that the guest gives evidence of; empty: only tell what was measured, and end.
        launch: launch parameters; the agent checks them against the image's grammar, and they are bound into evidence.
    """

    tee: str
    launch: dict[LaunchName, Annotated[str, Field(max_length=4096)]]
