"""The hardened settings of a server beside those of a program: its queries come from clients that nobody measured."""

from __future__ import annotations

from confide.jvm.settings import Forbidden, Setting

_CODE = "clients could run code that nobody measured"
_UNCHECKED = "queries would go unchecked"
_TOLD = "clients could read the settings' values, secrets too"

JDBC_PROVIDERS = "basic,db2,mariadb,mssql,oracle,postgres"
"""Spark's own: through one, a client could have the embedded Derby load classes, or reach any host."""


FIXED: tuple[Setting, ...] = (
    Setting("spark.sql.variable.substitute", "false", _TOLD),
    Setting("spark.sql.analyzer.singlePassResolver.enabled", "false", _UNCHECKED),
    Setting("spark.sql.sources.disabledJdbcConnProviderList", JDBC_PROVIDERS, _CODE),
)

FORBIDDEN: tuple[Forbidden, ...] = (Forbidden(r"spark\.sql\.catalog\..+", _CODE),)
