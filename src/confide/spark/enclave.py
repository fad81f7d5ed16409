"""What a Spark program needs of an enclave."""

from __future__ import annotations

from confide.enclave.enclave_needs import EnclaveNeeds, enclave_cores
from confide.enclave.image import Image
from confide.enclave.launch import EXECUTOR
from confide.jvm.command import heap_mib
from confide.jvm.enclave import THREAD_STACK_MIB, THREADS, jvm_mib
from confide.spark.installation import CLASS

SPARK_THREADS = 96
"""Spark's own in local mode, whatever the cores: listener buses, cleaner, heartbeats, block manager, map outputs,
result getters, schedulers, and the bounded pools of broadcasts (8) and subqueries (4)."""

THREADS_PER_CORE = 7
"""One for a task, one of the collector's, one of a compiler's, and four of Netty's and the dispatcher's pools."""

PYTHON_PROCESSES, JVM_PROCESSES = 3, 2
"""Agent, JVM, and the Python driver, where the program is one of Python or SQL."""


def enclave_needs(image: Image) -> EnclaveNeeds:
    """Return the needs of an image of the profile `spark`: its largest process is the JVM, or Python with the rest."""
    cores = enclave_cores(image.limits)
    heap = heap_mib(image.limits.memory_mib)
    return EnclaveNeeds(
        memory_mib=max(jvm_mib(heap), image.limits.memory_mib - heap),
        threads=THREADS + SPARK_THREADS + THREADS_PER_CORE * cores,
        thread_stack_mib=THREAD_STACK_MIB,
        processes=JVM_PROCESSES if _without_python(image) else PYTHON_PROCESSES,
        no_vfork=True,
        clear_work=True,
        env={"SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_HOSTNAME": "localhost"},
    )


def _without_python(image: Image) -> bool:
    return image.role == EXECUTOR or CLASS in image.settings
