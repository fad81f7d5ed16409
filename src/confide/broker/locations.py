"""Locations, as policies name them: relative to the data root of a run, or an absolute URI prefix."""

from __future__ import annotations

import re

from confide.errors import Misuse

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
_STREAM = re.compile(
    r"rediss://(?P<host>[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?):(?P<port>[1-9][0-9]{0,4})/[A-Za-z0-9._:-]{1,128}"
)
_MAX_PORT = 65535
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\?#%*]")


def parse_location(text: str) -> str:
    """Return `text` if it is a location: no empty, `.` or `..` parts, no wildcard, escape or query.

    Raises:
        ValueError: otherwise.
    """
    if _FORBIDDEN.search(text):
        raise ValueError("a location has no control characters and none of \\ ? # % *")
    match = _SCHEME.fullmatch(text)
    path = match[2] if match else text
    if match and match[1] == "file":
        if not path.startswith("/"):
            raise ValueError("a file location is file:///absolute/path")
        path = path[1:]
    if not match and (text.startswith("/") or ":" in text.split("/")[0]):
        raise ValueError("a location is relative to the data root, or a URI such as s3a://bucket/path")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("a location has no empty, '.' or '..' parts and no '/' at its end")
    return text


def is_stream(location: str) -> bool:
    """Return whether it can be the location of a stream of sealed records: `rediss://host:port/NAME`."""
    return _address(location) is not None


def stream_address(location: str) -> tuple[str, int]:
    """Return host and port of the Redis that a stream's location names.

    Raises:
        Misuse: it is the location of no stream.
    """
    address = _address(location)
    if address is None:
        raise Misuse(f"not the location of a stream (rediss://host:port/NAME): {location!r}")
    return address


def _address(location: str) -> tuple[str, int] | None:
    match = _STREAM.fullmatch(location)
    if match is None or int(match["port"]) > _MAX_PORT:
        return None
    return match["host"], int(match["port"])


def stream_name(location: str) -> str:
    """Return the name of the stream, its key in Redis.

    Raises:
        Misuse: it is the location of no stream.
    """
    stream_address(location)
    return location.rpartition("/")[2]


def overlap(one: str, other: str) -> bool:
    """Return whether the locations are the same or one lies inside the other."""
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")
