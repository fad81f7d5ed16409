"""The hardened settings of Spark's own channel: between members of a job, or of one process with itself."""

from __future__ import annotations

import secrets

from confide.jvm.settings import Setting
from confide.jvm.stores import Stores

STRANGERS = "strangers could speak to the processes of this run"
_CLEAR = "bytes would cross the network in clear"
_OUTSIDE = "Spark would be reachable from outside"

SECRET = "sparkCookie"  # noqa: S105 - a name
"""The credential of the JVM's Hadoop user in which Spark looks for the secret, before its settings: those it tells
every function, as local properties of tasks."""
PASSWORDS = Setting(
    "spark.hadoop.hadoop.security.credential.provider.path",
    "user:///",
    "passwords would be settings, which functions are told",
)
"""Has Spark look there, too, for the passwords of its key stores, by the names that they have as settings."""


def unused_secret() -> Setting:
    """Return the row of the setting that Spark insists on: nobody knows its value, so it opens nothing."""
    return Setting("spark.authenticate.secret", secrets.token_hex(32), STRANGERS, "[0-9a-f]{64}")


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
    """Return the rows of TLS 1.3, for whatever carries the bytes; they need `credentials`.

    Spark's own TLS authenticates the one who listens; whoever connects proves inside it that it knows the secret.
    """
    return (
        Setting("spark.authenticate", "true", STRANGERS),
        unused_secret(),
        Setting("spark.ssl.rpc.enabled", "true", _CLEAR),
        Setting("spark.ssl.rpc.protocol", "TLSv1.3", "an older protocol would be spoken"),
        Setting("spark.ssl.rpc.enabledAlgorithms", "TLS_AES_256_GCM_SHA384", "another cipher would be used"),
        Setting("spark.ssl.rpc.keyStore", str(stores.key), STRANGERS),
        # Without a trust store Spark trusts everybody: `confide.spark.Hardening` opens it before anything starts.
        Setting("spark.ssl.rpc.trustStore", str(stores.trust), STRANGERS),
        Setting("spark.ssl.rpc.trustStoreReloadingEnabled", "false", STRANGERS),
        Setting("spark.network.crypto.enabled", "false", "a second cipher would be laid into TLS"),
        Setting("spark.network.crypto.saslFallback", "false", "an older cipher would be accepted"),
        Setting("spark.authenticate.enableSaslEncryption", "false", "an older cipher would be used"),
    )


def credentials(stores: Stores) -> dict[str, str]:
    """Return the secrets of that TLS."""
    passwords = ("keyStorePassword", "keyPassword", "trustStorePassword")
    return {SECRET: stores.secret, **{f"spark.ssl.rpc.{name}": stores.secret for name in passwords}}
