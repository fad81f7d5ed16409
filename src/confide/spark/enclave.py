"""What a Spark program needs of an enclave."""

from __future__ import annotations

from confide.enclave.enclave_needs import EnclaveNeeds, enclave_cores
from confide.enclave.image import Image
from confide.jvm.command import heap_mib
from confide.spark import jvm

JVM_THREADS = 24
"""The JVM's own: compilers, references, timers, and the few that the gateway and its warm-up start."""

SPARK_THREADS = 96
"""Spark's own in local mode, whatever the cores: listener buses, cleaner, heartbeats, block manager, map outputs,
result getters, schedulers, and the bounded pools of broadcasts (8) and subqueries (4)."""

THREADS_PER_CORE = 7
"""One for a task, one of the collector's, one of a compiler's, and four of Netty's and the dispatcher's pools."""

THREAD_STACK_MIB = 1
"""As `-Xss` says."""

PROCESSES = 3
"""Agent, JVM, Python driver."""


def enclave_needs(image: Image) -> EnclaveNeeds:
    """Return the needs of an image of the profile `spark`: its largest process is the JVM, or Python with the rest."""
    cores = enclave_cores(image.limits)
    heap = heap_mib(image.limits.memory_mib)
    return EnclaveNeeds(
        memory_mib=max(jvm_mib(heap), image.limits.memory_mib - heap),
        threads=JVM_THREADS + SPARK_THREADS + THREADS_PER_CORE * cores,
        thread_stack_mib=THREAD_STACK_MIB,
        processes=PROCESSES,
        no_vfork=True,
        env={"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "localhost"},
    )


def jvm_mib(heap_mib: int) -> int:
    """Return the memory of a JVM: heap with a tenth for the collector, and each bounded part beside it."""
    parts = (jvm.METASPACE_MIB, jvm.CLASS_SPACE_MIB, jvm.CODE_CACHE_MIB, jvm.direct_mib(heap_mib))
    return heap_mib + heap_mib // 10 + sum(parts)
