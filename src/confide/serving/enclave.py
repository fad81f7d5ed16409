"""What served models need of an enclave."""

from __future__ import annotations

from confide.enclave.enclave_needs import EnclaveNeeds, enclave_cores
from confide.enclave.gramine.sizes import STACK_MIB
from confide.enclave.image import Image

OWN_THREADS = 16
"""The agent's: control, its socket, the sealed log; and the event loop."""

POOL_THREADS = 98
"""Three of Python's pools, which run models, load them, and read requests; such a pool has at most 32 threads. And one
thread that asks the broker, and one that sends traces."""

MODELS = 8
"""Models that are loaded at one time, each with a pool of its own: more want more --cores."""


def enclave_needs(image: Image) -> EnclaveNeeds:
    """Return the needs of an image of the profile `serving`: one process does everything."""
    return EnclaveNeeds(
        memory_mib=image.limits.memory_mib,
        threads=OWN_THREADS + POOL_THREADS + MODELS * enclave_cores(image.limits),
        thread_stack_mib=STACK_MIB,
        processes=1,
    )
