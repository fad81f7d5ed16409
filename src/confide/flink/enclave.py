"""What a Flink program needs of an enclave."""

from __future__ import annotations

from confide.enclave.enclave_needs import EnclaveNeeds, enclave_cores
from confide.enclave.image import Image
from confide.flink.jvm import DIRECT_MIB
from confide.jvm.command import heap_mib
from confide.jvm.enclave import THREAD_STACK_MIB, THREADS, jvm_mib

FLINK_THREADS = 96
"""The mini cluster's own, whatever the cores: dispatchers and timers of its actor system, REST, blobs, checkpoints."""

THREADS_PER_CORE = 24
"""Four of the pool for input and output, the actor system's and Netty's, and 16 tasks that run beside one another."""

MANAGED_MIB = 128
"""Memory outside of heap and direct buffers that the task manager of a mini cluster takes for sorting and state."""

PROCESSES = 3
"""Agent, JVM, Python driver."""


def enclave_needs(image: Image) -> EnclaveNeeds:
    """Return the needs of an image of the profile `flink`: its largest process is the JVM, with Python in it."""
    heap = heap_mib(image.limits.memory_mib)
    python = image.limits.memory_mib - heap
    return EnclaveNeeds(
        memory_mib=jvm_mib(heap, DIRECT_MIB) + MANAGED_MIB + python,
        threads=THREADS + FLINK_THREADS + THREADS_PER_CORE * enclave_cores(image.limits),
        thread_stack_mib=THREAD_STACK_MIB,
        processes=PROCESSES,
        no_vfork=True,
        clear_work=True,
    )
