"""What an engine needs of an enclave, which has its size and its threads fixed before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from confide.enclave.image import Limits

CORES = 4
"""Cores in an enclave whose image names none: its threads are counted when it is built, not where it runs."""


@dataclass(frozen=True)
class EnclaveNeeds:
    """What the largest process of an image needs; every process gets an enclave of that size.

    Attributes:
        memory_mib: its heaps and its own, without stacks and what is mapped of files.
        threads: at most, at one time.
        thread_stack_mib: of a thread that the engine starts.
        processes: at most, at one time.
        no_vfork: `vfork` fails at once: the engine tries to start processes for what it can do without, and a fork of a
            busy JVM fails under Gramine after it has copied the JVM.
        clear_work: `/work` is an encrypted mount of this run, and the data root lies at `/data`: what the program
            writes to a file by itself never gets there in clear. Without, `/work` is the data root itself.
        env: environment besides the image's.
    """

    memory_mib: int
    threads: int
    thread_stack_mib: int
    processes: int
    no_vfork: bool = False
    clear_work: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


def enclave_cores(limits: Limits) -> int:
    """Return the number of cores that a workload uses in an enclave."""
    return limits.cores or CORES
