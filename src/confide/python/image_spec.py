"""What the images of the Python profile hold."""

from __future__ import annotations

from confide.enclave.image import Limits
from confide.enclave.profile import ImageProfile


def image_profile() -> ImageProfile:
    """Return the Python profile: Python, `confide`, and whatever the program imports."""
    return ImageProfile(
        name="python",
        entry="confide.python.entry",
        limits=Limits(memory_mib=4096, scratch_mib=4096),
        streams=True,
    )
