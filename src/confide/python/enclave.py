"""What a Python program needs of an enclave."""

from __future__ import annotations

from confide.enclave.enclave_needs import EnclaveNeeds, enclave_cores
from confide.enclave.gramine.sizes import STACK_MIB
from confide.enclave.image import Image

OWN_THREADS = 16
"""The agent's: control, its socket and who asks there, the sealed log; and the program's own few."""

THREADS_PER_CORE = 4
"""Pools of numpy (OpenMP or OpenBLAS), of Arrow for computing and for reading, of scikit-learn."""


def enclave_needs(image: Image) -> EnclaveNeeds:
    """Return the needs of an image of the profile `python`: the agent, and the program as its child."""
    cores = enclave_cores(image.limits)
    return EnclaveNeeds(
        memory_mib=image.limits.memory_mib,
        threads=OWN_THREADS + THREADS_PER_CORE * cores,
        thread_stack_mib=STACK_MIB,
        processes=2,
        clear_work=True,
        env={"OMP_NUM_THREADS": str(cores), "OPENBLAS_NUM_THREADS": str(cores)},
    )
