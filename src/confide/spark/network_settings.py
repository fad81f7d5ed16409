"""The hardened settings of Spark's own channel: between members of a job, or of one process with itself."""

from __future__ import annotations

from confide.jvm.settings import Setting
from confide.jvm.stores import Stores

STRANGERS = "strangers could speak to the processes of this run"
_CLEAR = "bytes would cross the network in clear"
_OUTSIDE = "Spark would be reachable from outside"

ALONE: tuple[Setting, ...] = (
    Setting("spark.driver.host", "127.0.0.1", _OUTSIDE),
    Setting("spark.driver.bindAddress", "127.0.0.1", _OUTSIDE),
)
"""Local mode still listens on two ports, for files of `addFile` and for blocks."""

AES: tuple[Setting, ...] = (
    Setting("spark.authenticate", "true", STRANGERS),
    Setting("spark.network.crypto.enabled", "true", _CLEAR),
    Setting("spark.network.crypto.authEngineVersion", "2", "an older key agreement would be used"),
    Setting("spark.network.crypto.cipher", "AES/GCM/NoPadding", "traffic would not be authenticated"),
    Setting("spark.network.crypto.saslFallback", "false", "an older cipher would be accepted"),
)
"""For a loopback device that the sandbox or the guest's kernel keeps: whoever carries the messages could repeat,
reorder or leave out whole ones."""


def tls(stores: Stores) -> tuple[Setting, ...]:
    """Return the rows of TLS 1.3, for whatever carries the bytes.

    Spark's own TLS authenticates the one who listens; whoever connects proves inside it that it knows the secret.
    """
    return (
        Setting("spark.authenticate", "true", STRANGERS),
        Setting("spark.authenticate.secret", stores.secret, STRANGERS),
        Setting("spark.ssl.rpc.enabled", "true", _CLEAR),
        Setting("spark.ssl.rpc.protocol", "TLSv1.3", "an older protocol would be spoken"),
        Setting("spark.ssl.rpc.enabledAlgorithms", "TLS_AES_256_GCM_SHA384", "another cipher would be used"),
        Setting("spark.ssl.rpc.keyStore", str(stores.key), STRANGERS),
        Setting("spark.ssl.rpc.keyStorePassword", stores.secret, STRANGERS),
        Setting("spark.ssl.rpc.keyPassword", stores.secret, STRANGERS),
        # Without a trust store Spark trusts everybody: `confide.spark.Hardening` opens it before anything starts.
        Setting("spark.ssl.rpc.trustStore", str(stores.trust), STRANGERS),
        Setting("spark.ssl.rpc.trustStorePassword", stores.secret, STRANGERS),
        Setting("spark.ssl.rpc.trustStoreReloadingEnabled", "false", STRANGERS),
        Setting("spark.network.crypto.enabled", "false", "a second cipher would be laid into TLS"),
        Setting("spark.network.crypto.saslFallback", "false", "an older cipher would be accepted"),
        Setting("spark.authenticate.enableSaslEncryption", "false", "an older cipher would be used"),
    )
