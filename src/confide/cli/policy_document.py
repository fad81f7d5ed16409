"""Edits of a policy document that keep its comments and order."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from confide.broker.store import StoredListing
from confide.errors import Misuse
from confide.keys.names import KeyName


def open_document(file: Path, owner: str, newest_serial: int, days: int) -> tomlkit.TOMLDocument:
    """Return the document in `file`, or a new one; its serial is above `newest_serial`.

    Raises:
        Misuse: the file is not TOML, or another owner's.
    """
    if file.exists():
        try:
            document = tomlkit.parse(file.read_text(encoding="utf-8"))
        except (TOMLKitError, UnicodeDecodeError) as error:
            raise Misuse(f"{file} is not TOML: {error}") from None
        if document.get("owner") != owner:
            raise Misuse(f"{file} is the policy of {document.get('owner')}, not of {owner}")
    else:
        now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        document = tomlkit.document()
        document.add(
            tomlkit.comment(f"What {owner} allows. Put into force with: confide policy apply {file}")
        )
        document["version"] = 1
        document["owner"] = owner
        document["serial"] = 0
        document["not_before"] = now
        document["not_after"] = now + datetime.timedelta(days=days)
    document["serial"] = max(int(document.get("serial", 0)), newest_serial + 1)
    return document


def put_workload(
    document: tomlkit.TOMLDocument,
    name: str,
    *,
    tee: str,
    measurements: Mapping[str, str],
    logs: str | None,
    requests: str | None = None,
    platform: dict[str, Any] | None,
) -> None:
    """Allow one measurement of each role under `name`, in place of what that workload was before; its grants go too.

    Args:
        document: is changed.
        name: of the workload.
        tee: that must vouch for it.
        measurements: role -> measurement of its image.
        logs: key that its output is sealed under.
        requests: key that requests to it are sealed to.
        platform: what is demanded of it: registers, and of SGX more; None: that is for the owner to write.
    """
    entries: list[dict[str, Any]] = []
    for role, measurement in measurements.items():
        entry: dict[str, Any] = {"name": name, "tee": tee, "role": role, "measurements": [measurement]}
        if logs is not None:
            entry["logs"] = str(KeyName.parse(logs))
        if requests is not None:
            entry["requests"] = str(KeyName.parse(requests))
        if platform is not None:
            entry["platform"] = _table(platform)
        entries.append(entry)
    _replace(document, "workload", lambda item: item.get("name") == name, entries)
    _replace(document, "grant", lambda item: item.get("workload") == name, [])


def _table(values: Mapping[str, Any]) -> Table:
    """Return a table with its tables as tables of their own."""
    made = tomlkit.table(is_super_table=all(isinstance(value, Mapping) for value in values.values()))
    for name, value in values.items():
        made[name] = _table(value) if isinstance(value, Mapping) else value
    return made


def grant_read(document: tomlkit.TOMLDocument, workload: str, spec: str, known: StoredListing | None) -> None:
    """Allow reading the location `spec`, whose listing is known here; `LOCATION=KEY` where it is not.

    Raises:
        Misuse: nothing is known of the location, and no key is given.
    """
    location, _, key = spec.partition("=")
    entry: dict[str, Any] = {"workload": workload, "location": location, "access": "read"}
    if known is not None:
        entry["format"] = known.listing.format.value
        entry["key"] = known.listing.key
        if known.listing.columns:
            entry["columns"] = dict(known.listing.columns)
        entry["table"] = known.listing.table
    elif key:
        entry["format"] = "table"
        entry["key"] = str(KeyName.parse(key))
    else:
        raise Misuse(
            f"nothing is known of {location} here: encrypt it first, or give --read {location}=OWNER/KEY"
        )
    _add(document, "grant", entry)


def grant(document: tomlkit.TOMLDocument, workload: str, spec: str, form: str, access: str) -> None:
    """Allow `LOCATION=KEY`, whatever is known of it here.

    Raises:
        Misuse: `spec` is not of that form.
    """
    location, separator, key = spec.partition("=")
    if not separator or not location:
        raise Misuse(f"not LOCATION=KEY: {spec!r}")
    entry = {"workload": workload, "location": location, "access": access, "format": form}
    _add(document, "grant", {**entry, "key": str(KeyName.parse(key))})


def _add(document: tomlkit.TOMLDocument, array: str, entry: dict[str, Any]) -> None:
    _replace(document, array, lambda _: False, [entry])


def _replace(document: tomlkit.TOMLDocument, array: str, drop: Any, entries: list[dict[str, Any]]) -> None:
    kept = [item for item in document.get(array, []) if not drop(item)]
    tables: AoT = tomlkit.aot()
    for item in kept:
        tables.append(item)
    for entry in entries:
        table = tomlkit.table()
        for name, value in entry.items():
            if isinstance(value, dict) and not isinstance(value, Table):
                inline = tomlkit.inline_table()
                inline.update(value)
                value = inline
            table[name] = value
        tables.append(table)
    if array in document:
        document.remove(array)
    if len(tables):
        document.append(array, tables)
