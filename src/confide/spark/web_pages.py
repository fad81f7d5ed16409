"""Spark's web pages, where whoever starts a run asks for them: over TLS 1.3, for those who have the owner's token.

Their certificate carries evidence, as that of a server has (`confide.spark.server_identity`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from confide.enclave.profile import Context
from confide.jvm.settings import Setting
from confide.spark.server_identity import make_chain
from confide.spark.server_settings import NAME, NAMES, REDACTED
from confide.spark.server_store import KeyStore, write_key_store
from confide.spark.tokens import released_tokens

LAUNCH = {"ui": rf"{NAME}:[1-9][0-9]{{0,4}}", "names": NAMES}
"""Launch parameters of a program: where its pages are, and names by which viewers call that."""

_SHOWN = "the web pages show data and literals to anybody who asks"
_CLEAR = "they would cross the network in clear"
_TOLD = "viewers could read the settings' values, secrets too"

NONE = Setting("spark.ui.enabled", "false", _SHOWN)


@dataclass(frozen=True)
class WebPages:
    """Where the pages are.

    Attributes:
        host, port: that they are served at.
        key_store: that they are served with.
    """

    host: str
    port: int
    key_store: KeyStore

    @classmethod
    def of(cls, context: Context) -> Self | None:
        """Return what a run was asked for, with a new identity; None: no pages.

        Raises:
            NoGrant: the policy names no key for tokens.
            AttestationRefused: the TEE gives no evidence.
        """
        address = context.launch.get("ui")
        if address is None:
            return None
        host, _, port = address.rpartition(":")
        names = context.launch.get("names", host).split(",")
        context.secrets["tokens"] = released_tokens(context.release)
        chain = make_chain(context.evidence, names, int(time.time()))
        context.tell("pages", url=f"https://{names[0]}:{port}")
        return cls(host, int(port), write_key_store(chain, context.socket.parent))

    def environment(self) -> dict[str, str]:
        """Return what tells Spark the address: it has no setting for that."""
        return {"SPARK_LOCAL_IP": self.host}

    def settings(self) -> tuple[Setting, ...]:
        """Return the rows. `confide.spark.WebPages` closes the plain port that Spark opens beside, for redirects."""
        store = self.key_store
        return (
            Setting("spark.ui.enabled", "true", _SHOWN),
            Setting("spark.ui.filters", "confide.spark.TokenFilter", _SHOWN),
            Setting("spark.ui.port", "0", _CLEAR, r"[0-9]{1,5}"),  # closed whatever it is
            Setting("spark.ui.reverseProxy", "false", _SHOWN),
            Setting("spark.ui.killEnabled", "false", "viewers could end jobs"),
            Setting("spark.ssl.ui.enabled", "true", _CLEAR),
            Setting("spark.ssl.ui.port", str(self.port), _CLEAR),
            Setting("spark.ssl.ui.protocol", "TLSv1.3", "an older protocol would be spoken"),
            Setting(
                "spark.ssl.ui.enabledAlgorithms", "TLS_AES_256_GCM_SHA384", "another cipher would be used"
            ),
            Setting("spark.ssl.ui.keyStoreType", "PKCS12", _CLEAR),
            Setting("spark.ssl.ui.keyStore", str(store.path), _CLEAR),
            Setting("spark.redaction.regex", REDACTED, _TOLD),
        )

    def credentials(self) -> dict[str, str]:
        """Return the passwords that Spark looks up for these rows."""
        return {
            f"spark.ssl.ui.{name}": self.key_store.password for name in ("keyStorePassword", "keyPassword")
        }


def sample() -> WebPages:
    """Return pages whose settings have the names, and not the values, of those of a run."""
    return WebPages("127.0.0.1", 1, KeyStore(Path("/"), ""))
