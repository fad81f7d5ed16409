"""What every JVM of an enclave is started with."""

from __future__ import annotations

CLOSED: tuple[str, ...] = (
    # Nothing that copies memory out: no attaching debugger, dumps, or counters in a shared file.
    "-XX:+DisableAttachMechanism",
    "-XX:-UsePerfData",
    "-XX:-CreateCoredumpOnCrash",
    "-XX:-HeapDumpOnOutOfMemoryError",
)


def heap_mib(memory_mib: int) -> int:
    """Return the Java heap for an enclave of that memory; the rest is for Python and the JVM's own."""
    return max(256, memory_mib * 5 // 8)
