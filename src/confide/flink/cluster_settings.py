"""The hardened settings of a job whose task managers run in enclaves of their own, in place of a mini cluster's.

Between the members everything is mutual TLS 1.3, with certificates of this job alone (docs/formats/mesh.md).
"""

from __future__ import annotations

from dataclasses import dataclass

from confide.jvm.settings import Setting
from confide.jvm.stores import Stores

_STRANGERS = "strangers would be spoken to"
_NETWORK_MIB = 64
_FRAMEWORK_HEAP_MIB = 64
_METASPACE_MIB = 256
_OVERHEAD_MIB = 128
_MANAGED_MIB = 128


@dataclass(frozen=True)
class Job:
    """What a member knows of its job.

    Attributes:
        host: its own address, at which the others reach it.
        stores: its key, and the job's authority as the only one that it trusts.
        executors: how many task managers there are to be; on one of them, any.
        driver: `host:port` of the job manager, for a task manager; None: this is the job manager.
        name: of a task manager.
    """

    host: str
    stores: Stores
    executors: int = 1
    driver: str | None = None
    name: str = ""


def addresses(job: Job | None) -> tuple[Setting, ...]:
    """Return where job manager and task managers listen; in a mini cluster nowhere but on loopback."""
    if job is None:
        hosts, port, reason = ("localhost", "localhost"), None, "Flink would be reachable from outside"
    else:
        driver, _, port = (job.driver or f"{job.host}:0").rpartition(":")
        hosts, reason = (driver, job.host), _STRANGERS
    manager, worker = hosts
    rows = {
        "jobmanager.rpc.address": manager,
        "jobmanager.bind-host": manager,
        "taskmanager.host": worker,
        "taskmanager.bind-host": worker,
    }
    if port is not None:
        rows["jobmanager.rpc.port"] = port
    return tuple(Setting(name, value, reason) for name, value in rows.items())


def of_job_manager(job: Job, cores: int) -> tuple[Setting, ...]:
    """Return the defaults of a program whose task managers are elsewhere.

    Args:
        job: what it knows of it.
        cores: of each task manager.
    """
    return (
        Setting("parallelism.default", str(job.executors * cores), "all cores of all task managers"),
        # Else a job fails at once that finds no free slot, while a task manager that was lost is being replaced.
        Setting(
            "resourcemanager.standalone.start-up-time", "24 h", "task managers attest before they register"
        ),
    )


def of_task_manager(job: Job, cores: int, heap_mib: int) -> tuple[Setting, ...]:
    """Return what a task manager wants to be told, which Flink's scripts work out elsewhere.

    Args:
        job: what it knows of it.
        cores: processors, each a slot.
        heap_mib: of its JVM.
    """
    sizes = {
        "framework.heap.size": _FRAMEWORK_HEAP_MIB,
        "task.heap.size": heap_mib - _FRAMEWORK_HEAP_MIB,
        "framework.off-heap.size": 128,
        "task.off-heap.size": 0,
        "network.min": _NETWORK_MIB,
        "network.max": _NETWORK_MIB,
        "managed.size": _MANAGED_MIB,
        "jvm-metaspace.size": _METASPACE_MIB,
        "jvm-overhead.min": _OVERHEAD_MIB,
        "jvm-overhead.max": _OVERHEAD_MIB,
    }
    return (
        Setting("taskmanager.resource-id", job.name, "what the driver's log calls it"),
        Setting("taskmanager.numberOfTaskSlots", str(cores), "all its cores"),
        Setting("taskmanager.cpu.cores", f"{cores}.0", "all its cores"),
        Setting("taskmanager.registration.timeout", "120 s", "a driver that is gone does not come back"),
        *(
            Setting(f"taskmanager.memory.{name}", f"{mib}m", "of the image's memory")
            for name, mib in sizes.items()
        ),
    )
