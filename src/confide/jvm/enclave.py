"""The JVM in an enclave, whose memory and threads are fixed before it starts: each part bounded by an option."""

from __future__ import annotations

METASPACE_MIB, CLASS_SPACE_MIB, CODE_CACHE_MIB = 512, 128, 160
"""Bounds of the JVM's own memory."""

THREADS = 24
"""The JVM's own: compilers, references, timers, and the few that our gateways and their warm-up start."""

THREAD_STACK_MIB = 1
"""As `-Xss` says."""


def enclave_options(heap_mib: int, cores: int, spawn: bool, engine_direct_mib: int = 0) -> list[str]:
    """Return the options for an enclave: every part of its memory and its threads bounded, nothing of the kernel's.

    Args:
        heap_mib: largest Java heap.
        cores: that it may use; the machine's are not counted.
        spawn: start processes by `posix_spawn`, as Occlum wants it; not: by `vfork`, which Gramine's manifest removes,
            so that it fails at once. Hadoop and Spark try at times whether there is a program, and go on without.
        engine_direct_mib: buffers outside the heap that the engine keeps, however large the heap.
    """
    return [
        f"-XX:ActiveProcessorCount={cores}",
        "-XX:+UseParallelGC",  # as many threads as cores, and no more beside them
        f"-XX:MaxMetaspaceSize={METASPACE_MIB}m",
        f"-XX:CompressedClassSpaceSize={CLASS_SPACE_MIB}m",
        f"-XX:ReservedCodeCacheSize={CODE_CACHE_MIB}m",
        f"-XX:MaxDirectMemorySize={direct_mib(heap_mib) + engine_direct_mib}m",
        f"-Xss{THREAD_STACK_MIB}m",
        f"-Djdk.lang.Process.launchMechanism={'posix_spawn' if spawn else 'vfork'}",
    ]


def direct_mib(heap_mib: int) -> int:
    """Return the memory outside the heap that buffers may take."""
    return max(64, heap_mib // 8)


def jvm_mib(heap_mib: int, engine_direct_mib: int = 0) -> int:
    """Return the memory of a JVM: heap with a tenth for the collector, and each bounded part beside it."""
    parts = (METASPACE_MIB, CLASS_SPACE_MIB, CODE_CACHE_MIB, direct_mib(heap_mib), engine_direct_mib)
    return heap_mib + heap_mib // 10 + sum(parts)
