"""The hardened settings of a job whose executors run in enclaves of their own, in place of those of local mode.

The channel is TLS 1.3 between certificates of this job alone (docs/formats/mesh.md). Spark's own TLS authenticates the
one who listens; whoever connects proves inside it that it knows the job's secret, which only members have.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from confide.enclave.launch import HOST
from confide.jvm.settings import Forbidden, Setting
from confide.spark.stores import Stores

MASTER = r"confide://[1-9][0-9]{0,4}"

_CLEAR = "bytes would cross the network in clear"
_STRANGERS = "strangers to the job could speak to its members"


@dataclass(frozen=True)
class Job:
    """What a member knows of its job.

    Attributes:
        host: address at which the others reach the driver; on an executor, any.
        executors: how many there are to be.
        secret: of the job.
        stores: where `confide.spark.stores` put key and trust.
    """

    host: str
    executors: int
    secret: str = field(repr=False)
    stores: Stores


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
    return (
        Setting("spark.driver.host", job.host, _STRANGERS, HOST),
        Setting("spark.driver.bindAddress", job.host, _STRANGERS, HOST),
        Setting("spark.authenticate", "true", _STRANGERS),
        Setting("spark.authenticate.secret", job.secret, _STRANGERS),
        Setting("spark.ssl.rpc.enabled", "true", _CLEAR),
        Setting("spark.ssl.rpc.protocol", "TLSv1.3", "an older protocol would be spoken"),
        Setting("spark.ssl.rpc.enabledAlgorithms", "TLS_AES_256_GCM_SHA384", "another cipher would be used"),
        Setting("spark.ssl.rpc.keyStore", str(job.stores.key), _STRANGERS),
        Setting("spark.ssl.rpc.keyStorePassword", job.secret, _STRANGERS),
        Setting("spark.ssl.rpc.keyPassword", job.secret, _STRANGERS),
        # Without a trust store Spark trusts everybody: `confide.spark.Hardening` opens it before anything starts.
        Setting("spark.ssl.rpc.trustStore", str(job.stores.trust), _STRANGERS),
        Setting("spark.ssl.rpc.trustStorePassword", job.secret, _STRANGERS),
        Setting("spark.ssl.rpc.trustStoreReloadingEnabled", "false", _STRANGERS),
        Setting("spark.network.crypto.enabled", "false", "a second cipher would be laid into TLS"),
        Setting("spark.network.crypto.saslFallback", "false", "an older cipher would be accepted"),
        Setting("spark.authenticate.enableSaslEncryption", "false", "an older cipher would be used"),
        Setting(
            "spark.shuffle.service.enabled", "false", "blocks would go to a service that nobody attested"
        ),
        Setting("spark.shuffle.readHostLocalDisk", "false", "executors share no disk"),
    )


FORBIDDEN: tuple[Forbidden, ...] = (Forbidden(r"spark\.ssl\..+", _STRANGERS),)

WAIT = Setting(
    "spark.scheduler.maxRegisteredResourcesWaitingTime", "120s", "executors attest before they register"
)
