"""The hardened settings of a server beside those of a program: its queries come from clients that nobody measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from confide.jvm.settings import Forbidden, Setting
from confide.spark.server_store import KeyStore

_CODE = "clients could run code that nobody measured"
_UNCHECKED = "queries would go unchecked"
_TOLD = "clients could read the settings' values, secrets too"
_CLEAR = "bytes would cross the network in clear"
_STRANGERS = "clients without a token would be served"
_SCRATCH = "temporary data would leave the scratch space"
_HIVE = "spark.hadoop.hive"

NAME = r"[0-9A-Za-z.-]{1,253}"
NAMES = rf"{NAME}(,{NAME}){{0,15}}"
"""Launch parameters: a name or an address, and several."""

REDACTED = "(?i)secret|password|passwd|token|access[.]?key|kms|credential"
"""Names of settings whose values nobody is told."""

JDBC_PROVIDERS = "basic,db2,mariadb,mssql,oracle,postgres"
"""Spark's own ways to databases, which verify no server."""


@dataclass(frozen=True)
class Server:
    """Where a server listens.

    Attributes:
        host, port: 0: the operating system chooses.
        key_store: of a server of SQL, which reads it from a file; None: Spark Connect's, which gets it otherwise.
    """

    host: str
    port: int
    key_store: KeyStore | None = None


def fixed(scratch: PurePosixPath, server: Server) -> tuple[Setting, ...]:
    """Return the rows."""
    rows = (
        Setting("spark.sql.variable.substitute", "false", _TOLD),
        Setting("spark.sql.analyzer.singlePassResolver.enabled", "false", _UNCHECKED),
        # Through any, a client could have the embedded Derby load classes, or reach any host.
        Setting("spark.sql.sources.disabledJdbcConnProviderList", f"{JDBC_PROVIDERS},confide", _CODE),
        Setting("spark.redaction.regex", REDACTED, _TOLD),
        Setting("spark.sql.legacy.setCommandRejectsSparkCoreConfs", "true", _TOLD),
    )
    store = server.key_store
    return rows if store is None else (*rows, *_sql(scratch, server, store))


def credentials(server: Server) -> dict[str, str]:
    """Return the passwords that the server looks up for these rows."""
    store = server.key_store
    return {} if store is None else {"hive.server2.keystore.password": store.password}


def _sql(scratch: PurePosixPath, server: Server, store: KeyStore) -> tuple[Setting, ...]:
    return (
        Setting(f"{_HIVE}.server2.transport.mode", "binary", _CLEAR),
        Setting(f"{_HIVE}.server2.thrift.bind.host", server.host, _STRANGERS),
        Setting(f"{_HIVE}.server2.thrift.port", str(server.port), _STRANGERS),
        Setting(f"{_HIVE}.server2.use.SSL", "true", _CLEAR),
        Setting(f"{_HIVE}.server2.keystore.path", str(store.path), _STRANGERS),
        Setting(f"{_HIVE}.ssl.protocol.blacklist", "SSLv2,SSLv3,TLSv1,TLSv1.1,TLSv1.2", _CLEAR),
        Setting(f"{_HIVE}.server2.authentication", "CUSTOM", _STRANGERS),
        # Sessions of other users than the process's would open file systems of their own.
        Setting(f"{_HIVE}.server2.enable.doAs", "false", _UNCHECKED),
        Setting(f"{_HIVE}.server2.logging.operation.enabled", "false", _SCRATCH),
        Setting(f"{_HIVE}.exec.scratchdir", f"file:{scratch / 'hive'}", _SCRATCH),
        Setting(f"{_HIVE}.exec.local.scratchdir", str(scratch / "hive"), _SCRATCH),
        Setting(f"{_HIVE}.downloaded.resources.dir", str(scratch / "hive"), _SCRATCH),
    )


FORBIDDEN: tuple[Forbidden, ...] = (Forbidden(r"spark\.sql\.catalog\..+", _CODE),)
