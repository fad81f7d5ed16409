"""Tables of a store and how older ones become the newest.

What is plain: names, serials, versions, times, the audit log. Everything else lies in `sealed` cells: wrapped
under the store's root key, authenticated with the cell's kind and name, so that a cell neither reads nor
verifies in another place.

Written for SQLite; `for_postgres` says the same in PostgreSQL's words.
"""

from __future__ import annotations

import re
from typing import Final

APPLICATION_ID: Final = 0x436F6E66
"""`Conf`, in SQLite's header: tells a store from any other database."""

MIGRATIONS: Final[tuple[str, ...]] = (
    """
    CREATE TABLE meta (
        name TEXT PRIMARY KEY,
        value BLOB NOT NULL
    ) STRICT;
    CREATE TABLE owner (
        name TEXT PRIMARY KEY,
        sealed BLOB NOT NULL
    ) STRICT;
    CREATE TABLE named_key (
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        current INTEGER,
        revoked INTEGER,
        PRIMARY KEY (owner, name)
    ) STRICT;
    CREATE TABLE key_version (
        owner TEXT NOT NULL,
        name TEXT NOT NULL,
        version INTEGER NOT NULL CHECK (version > 0),
        sealed BLOB,
        created INTEGER NOT NULL,
        revoked INTEGER,
        PRIMARY KEY (owner, name, version),
        FOREIGN KEY (owner, name) REFERENCES named_key (owner, name),
        CHECK ((sealed IS NULL) = (revoked IS NOT NULL))
    ) STRICT;
    CREATE TABLE policy (
        owner TEXT PRIMARY KEY,
        serial INTEGER NOT NULL,
        sealed BLOB NOT NULL
    ) STRICT;
    CREATE TABLE listing (
        owner TEXT NOT NULL,
        table_id TEXT NOT NULL,
        location TEXT NOT NULL,
        serial INTEGER NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (owner, table_id),
        UNIQUE (owner, location)
    ) STRICT;
    CREATE TABLE host (
        id TEXT PRIMARY KEY,
        enrolled INTEGER NOT NULL,
        sealed BLOB NOT NULL
    ) STRICT;
    CREATE TABLE secret (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        sealed BLOB NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT;
    CREATE TABLE audit_entry (
        position INTEGER PRIMARY KEY,
        leaf TEXT NOT NULL
    ) STRICT;
    CREATE TABLE audit_node (
        level INTEGER NOT NULL,
        position INTEGER NOT NULL,
        hash BLOB NOT NULL,
        PRIMARY KEY (level, position)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE collateral (
        name TEXT PRIMARY KEY,
        sealed BLOB NOT NULL,
        source TEXT NOT NULL,
        obtained INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        failed INTEGER,
        failure TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE job (
        id TEXT PRIMARY KEY,
        expires INTEGER NOT NULL,
        sealed BLOB NOT NULL
    ) STRICT;
    """,
    """
    DELETE FROM job;
    CREATE TABLE job_member (
        job TEXT NOT NULL,
        name TEXT NOT NULL,
        PRIMARY KEY (job, name),
        FOREIGN KEY (job) REFERENCES job (id) ON DELETE CASCADE
    ) STRICT;
    """,
)
"""Migration n takes a database from version n to n + 1."""

_POSTGRES: Final = {
    r"\bINTEGER\b": "BIGINT",
    r"\bBLOB\b": "BYTEA",
    r"\bTEXT\b": 'TEXT COLLATE "C"',  # sorted by code points, as in SQLite, in every locale
    r"\) STRICT(, WITHOUT ROWID)?": ")",
}


def for_postgres(statement: str) -> str:
    """Return a statement of the schema as PostgreSQL has it."""
    for pattern, replacement in _POSTGRES.items():
        statement = re.sub(pattern, replacement, statement)
    return statement
