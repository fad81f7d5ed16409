"""What somebody could do to a store who may write its database but has none of its keys."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg


def meddle(where: Path | str, statement: str, *values: Any) -> None:
    """Run a statement of SQLite's on a store's database, whichever it is; it must change something."""
    if isinstance(where, Path):
        with closing(sqlite3.connect(where)) as connection, connection:
            changed = connection.execute(statement, values).rowcount
    else:
        with psycopg.connect(where) as connection:
            changed = connection.execute(_for_postgres(statement), values).rowcount
    assert changed


def _for_postgres(statement: str) -> str:
    statement = re.sub(r"zeroblob\((\d+)\)", r"decode(repeat('00', \1), 'hex')", statement)
    statement = re.sub(r"CAST\((.*) AS BLOB\)", r"\1", statement)
    statement = re.sub(r"x'(\w*)'", r"decode('\1', 'hex')", statement)
    return statement.replace("%", "%%").replace("?", "%s")
