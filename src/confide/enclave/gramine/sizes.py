"""Sizes of an enclave, each by a rule of its own; docs/enclaves.md has a sentence for each.

They are fixed in the measured manifest, and nothing but a run on SGX finds them too small: `gramine-direct` ignores
them all.
"""

from __future__ import annotations

from confide.enclave.enclave_needs import EnclaveNeeds
from confide.enclave.image import JAVA, Image
from confide.errors import InvalidImage

GRAMINE_MIB = 64
"""Gramine's own: PAL, library OS, its heap."""

GRAMINE_THREADS = 3
"""Gramine's own: messages between processes, timers, and the handshake of a pipe."""

THREAD_KIB = 400
"""What Gramine sets aside for each thread slot: two frames for the processor's state, stacks of its own."""

STACK_MIB = 8
"""Stack of a thread: LAPACK, which numpy uses, overruns 2 MiB."""

LARGEST_MIB = 1024 * 1024
"""Largest enclave: Gramine lays out its own data at 1 TiB."""

EDMM_KERNEL = (6, 0)
"""First Linux that adds memory to a running enclave."""

_MIB = 1024 * 1024


def enclave_mib(image: Image, needs: EnclaveNeeds) -> int:
    """Return the enclave's size: the smallest power of two that holds what the largest process needs.

    Raises:
        InvalidImage: it does not fit into the largest enclave; says the numbers.
    """
    parts = {
        "memory": needs.memory_mib,
        "stacks": stacks_mib(needs),
        "mapped files": mapped_mib(image),
        "Gramine": GRAMINE_MIB + max_threads(needs) * THREAD_KIB // 1024,
    }
    total = sum(parts.values())
    size = 1 << (total - 1).bit_length()
    if size > LARGEST_MIB:
        said = ", ".join(f"{name} {mib:,} MiB" for name, mib in parts.items())
        raise InvalidImage(
            f"does not fit into an enclave: {said} are {total:,} MiB, at most {LARGEST_MIB:,} MiB are possible"
        )
    return size


def max_threads(needs: EnclaveNeeds) -> int:
    """Return the number of thread slots: the engine's own threads at most, and Gramine's."""
    return needs.threads + GRAMINE_THREADS


def stacks_mib(needs: EnclaveNeeds) -> int:
    """Return the memory of stacks: the main thread's, and one for each thread of the engine."""
    return STACK_MIB + needs.threads * needs.thread_stack_mib


def mapped_mib(image: Image) -> int:
    """Return the memory of files that are mapped, and so copied: shared libraries and the JVM's modules."""
    mapped = (file.size for file in image.files if _is_mapped(file.path))
    return -(-sum(mapped) // _MIB)


def use_exinfo(image: Image) -> bool:
    """Return whether the program is told addresses of page faults: the JVM finds null pointers by them."""
    return f"{JAVA}/bin/java".lstrip("/") in {file.path for file in image.files}


def edmm_possible(kernel: tuple[int, int]) -> bool:
    """Return whether a kernel can add memory to a running enclave."""
    return kernel >= EDMM_KERNEL


def _is_mapped(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.endswith(".so") or ".so." in name or path == f"{JAVA}/lib/modules".lstrip("/")
