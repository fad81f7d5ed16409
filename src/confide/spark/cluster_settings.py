"""The hardened settings of a job whose executors run in enclaves of their own, in place of those of local mode.

The channel is TLS 1.3 between certificates of this job alone (docs/formats/mesh.md), under the job's secret, which only
members have.
"""

from __future__ import annotations

from dataclasses import dataclass

from confide.enclave.launch import HOST
from confide.jvm.settings import Setting
from confide.jvm.stores import Stores
from confide.spark.network_settings import STRANGERS, tls

MASTER = r"confide://[1-9][0-9]{0,4}"


@dataclass(frozen=True)
class Job:
    """What a member knows of its job.

    Attributes:
        host: address at which the others reach the driver; on an executor, any.
        executors: how many there are to be.
        stores: this member's key and trust, and the job's secret.
        tables: state of the tables that ranks read themselves; empty: there are none.
    """

    host: str
    executors: int
    stores: Stores
    tables: str = ""


def master(job: Job) -> Setting:
    """Return the row of the master."""
    return Setting(
        "spark.master",
        f"confide://{job.executors}",
        "tasks would run where nothing was attested",
        rf"{MASTER}|local(\[[0-9*, ]+\])?",
    )


def network(job: Job) -> tuple[Setting, ...]:
    """Return the rows of the network."""
    streamed = Setting("spark.confide.streamed", job.tables, "ranks would read different states of a table")
    return (
        *((streamed,) if job.tables else ()),
        Setting("spark.driver.host", job.host, STRANGERS, HOST),
        Setting("spark.driver.bindAddress", job.host, STRANGERS, HOST),
        *tls(job.stores),
        Setting(
            "spark.shuffle.service.enabled", "false", "blocks would go to a service that nobody attested"
        ),
        Setting("spark.shuffle.readHostLocalDisk", "false", "executors share no disk"),
    )


WAIT = Setting(
    "spark.scheduler.maxRegisteredResourcesWaitingTime", "120s", "executors attest before they register"
)
