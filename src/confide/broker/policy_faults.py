"""Faults of a policy document, each with its line: those of single fields, and those between fields.

The second kind is looked for in the raw document, so that it is reported together with the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import datetime
from typing import Any, TypeGuard

from pydantic import ValidationError

from confide.attestation.claims import Tee
from confide.attestation.requirements import PlatformRequirements
from confide.broker.locations import STREAM_FORMS, is_stream, overlap, stream_name
from confide.broker.policy_lines import Document, Path
from confide.errors import Fault

_WORDS = {"missing": "missing", "extra_forbidden": "unknown field"}
_EMPTY = ("too_short", "string_too_short")


def model_faults(document: Document, error: ValidationError) -> tuple[Fault, ...]:
    """Return the faults that the strict model found."""
    faults = []
    for found in error.errors(include_url=False, include_input=False, include_context=False):
        if found["type"] in _EMPTY:
            continue  # reported by `_empty`; pydantic also says so of a list whose items have faults
        path = tuple(part for part in found["loc"] if part != "[key]")
        reason = _WORDS.get(found["type"], found["msg"].removeprefix("Value error, "))
        faults.append(Fault(document.line(path), _name(path), reason))
    return tuple(faults)


def cross_faults(document: Document) -> Iterator[Fault]:
    """Yield the faults between fields, and every empty field; tolerates any document."""
    value = document.value
    for path, reason in itertools.chain(
        _empty((), value),
        _times(value),
        _workloads(value),
        _platforms(value),
        _grants(value),
        _locations(value),
    ):
        yield Fault(document.line(path), _name(path), reason)


_Found = Iterator[tuple[Path, str]]


def _empty(path: Path, value: Any) -> _Found:
    if value in ("", [], {}):
        yield path, "empty"
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _empty((*path, name), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _empty((*path, index), inner)


def _times(value: dict[str, Any]) -> _Found:
    start, end = value.get("not_before"), value.get("not_after")
    if _aware(start) and _aware(end) and start >= end:
        yield ("not_after",), "not after not_before"


def _workloads(value: dict[str, Any]) -> _Found:
    names: dict[Any, int] = {}
    measured: dict[Any, int] = {}
    for index, workload in _tables(value, "workload"):
        role = workload.get("role", "driver")
        name = (repr(workload.get("name")), repr(role))
        if "name" in workload and names.setdefault(name, index) != index:
            yield ("workload", index, "name"), "a second workload of this name and role"
        measurements = workload.get("measurements")
        for measurement in measurements if isinstance(measurements, list) else ():
            code = (repr(measurement), repr(workload.get("tee")), repr(role))
            if measured.setdefault(code, index) != index:
                yield ("workload", index, "measurements"), "a measurement that another workload names too"


def _platforms(value: dict[str, Any]) -> _Found:
    for index, workload in _tables(value, "workload"):
        platform, tee = workload.get("platform"), workload.get("tee")
        path: Path = ("workload", index, "platform")
        if tee == Tee.SIMULATED:
            if platform is not None:
                yield path, "the simulated TEE has no platform to demand anything of"
        elif tee in tuple(Tee):
            if platform is None:
                yield ("workload", index), f"platform is missing: what is demanded of the {tee} machine"
                continue
            try:
                demanded = PlatformRequirements.model_validate(platform)
            except ValidationError:
                continue  # the strict model reports it
            for reason in demanded.faults(Tee(tee)):
                yield path, reason
            svn = workload.get("minimum_svn")
            for reason in demanded.svn_faults(Tee(tee), svn if isinstance(svn, int) else 0):
                yield ("workload", index, "minimum_svn"), reason


def _grants(value: dict[str, Any]) -> _Found:
    if "grant" not in value and not any("requests" in workload for _, workload in _tables(value, "workload")):
        yield ("grant",), "missing"
    known = {repr(workload.get("name")) for _, workload in _tables(value, "workload")}
    owner = value.get("owner")
    for index, grant in _tables(value, "grant"):
        here: Path = ("grant", index)
        if "workload" in grant and repr(grant["workload"]) not in known:
            yield (*here, "workload"), "no workload of this name"
        key_owner = _owner_of(grant.get("key"))
        if grant.get("access") == "read" and key_owner not in (None, owner):
            yield (*here, "key"), "key of another owner: only its owner can let it be read"
        columns = grant.get("columns")
        for column, key in columns.items() if isinstance(columns, dict) else ():
            if None is not _owner_of(key) != key_owner:
                yield (*here, "columns", column), "key of another owner than the location's key"
        if columns and grant.get("format") in ("files", "stream"):
            yield (*here, "columns"), "only a table has columns"
        location = grant.get("location")
        if grant.get("format") == "stream" and isinstance(location, str) and not is_stream(location):
            yield (*here, "location"), f"the location of a stream is {STREAM_FORMS}, with brokers by name"
        if "table" in grant and grant.get("format") == "stream":
            yield (*here, "table"), "a stream has no table"
        if "table" in grant and grant.get("access") == "write":
            yield (*here, "table"), "only a read can be pinned to a table"


def _locations(value: dict[str, Any]) -> _Found:
    for (_, one), (index, other) in itertools.combinations(_tables(value, "grant"), 2):
        first, second = one.get("location"), other.get("location")
        if _same_stream(one, other):
            yield (
                ("grant", index, "location"),
                f"of the same name and key as {first!r}: one could pass for the other",
            )
        if one.get("workload") != other.get("workload"):
            continue
        if isinstance(first, str) and isinstance(second, str) and overlap(first, second):
            reason = "granted twice" if first == second else f"overlaps with {first!r}"
            yield ("grant", index, "location"), reason


def _same_stream(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Return whether records of two streams are told apart by nothing: they are bound to name and key alone."""
    first, second = one.get("location"), other.get("location")
    if first == second or not all(isinstance(each, str) and is_stream(each) for each in (first, second)):
        return False
    return stream_name(str(first)) == stream_name(str(second)) and one.get("key") == other.get("key")


def _tables(value: dict[str, Any], name: str) -> list[tuple[int, dict[str, Any]]]:
    items = value.get(name)
    if not isinstance(items, list):
        return []
    return [(index, item) for index, item in enumerate(items) if isinstance(item, dict)]


def _owner_of(key: Any) -> str | None:
    return key.split("/")[0] if isinstance(key, str) and "/" in key else None


def _aware(value: Any) -> TypeGuard[datetime]:
    return isinstance(value, datetime) and value.tzinfo is not None


def _name(path: Path) -> str:
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).removeprefix(".") or "document"
