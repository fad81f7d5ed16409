"""Which rule said no, out of an engine's long error: one line for the end of the sealed log. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_CHARS = 1000

_OURS = re.compile(r"(?:confide\.ConfideException: |\b(?=LaunchRefused: ))([A-Z][A-Za-z]+: [^\r\n]+)")
_BROKEN_TAG = re.compile(r"AEADBadTagException|GCM tag check failed|TagVerification")
_FILE = re.compile(r"\b(?:file|sealed|s3a|hdfs|gs|abfss?):/[^\s'\"]+")
_NOT_PARQUET = re.compile(r"(\S+) is not a Parquet file")
_FULL = re.compile(r"No space left on device")
_TABLE_FORMAT = re.compile(
    r"(?:Failed to find the data source: |The table or view `(?=\w+`\.`[^`]*/)|with the plugin class '[\w.]*\b)"
    r"(delta|iceberg|hudi)\b",
    re.IGNORECASE,
)
"""Spark has no such data source, took one for a schema (delta.`path`), or has no such catalog."""


def explain(error: BaseException) -> str | None:
    """Return `ErrorClass: what was wrong` for an error whose cause is known; None for any other.

    Confide's own errors cross the engine with their class name in front. A page that does not authenticate and
    a file that is no Parquet are found by Parquet itself, and a full disk by whoever writes, all under texts of
    their own.
    """
    text = "\n".join(_texts(error))
    if found := _OURS.findall(text):
        return str(found[-1])[:MAX_CHARS]  # the innermost cause comes last
    if _BROKEN_TAG.search(text):
        where = _FILE.search(text)
        return f"FileChanged: does not authenticate: {where[0].rstrip('.,') if where else 'a page'}"[
            :MAX_CHARS
        ]
    if found := _NOT_PARQUET.findall(text):  # of a table, the guard lets nothing else through
        return f"NoGrant: {found[-1]} is not Parquet, and lies in no location that is granted as a table"[
            :MAX_CHARS
        ]
    if found := _TABLE_FORMAT.findall(text):
        return (
            f"LaunchRefused: {found[-1].lower()} is refused: what its logs beside the data tell was not examined. "
            "Use Parquet in a location that is granted as a table: read.parquet(...), write.parquet(...)"
        )
    if _FULL.search(text):
        return "StorageUnavailable: no space left"
    return None


def _texts(error: BaseException) -> Iterator[str]:
    seen: set[int] = set()
    todo: BaseException | None = error
    while todo is not None and id(todo) not in seen:
        seen.add(id(todo))
        yield str(todo)
        yield str(getattr(todo, "_stackTrace", None) or "")  # PySpark keeps Java's there, and hides it
        todo = todo.__cause__ or todo.__context__
