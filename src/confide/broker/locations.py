"""Locations, as policies name them: relative to the data root of a run, or an absolute URI prefix."""

from __future__ import annotations

import re

from confide.errors import Misuse

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://(.*)", re.DOTALL)
_HOST = r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?"
_PORT = r"[1-9][0-9]{0,4}"
_REDIS = re.compile(rf"rediss://(?P<servers>{_HOST}:{_PORT})/(?P<name>[A-Za-z0-9._:-]{{1,128}})")
_BROKER = rf"(?![0-9.]+:){_HOST}:{_PORT}"  # by name: an address is resolved by nothing, and has no way in the sandbox
_KAFKA = re.compile(
    rf"kafka://(?P<servers>{_BROKER}(?:,{_BROKER})*)/(?P<name>(?!\.\.?$)[A-Za-z0-9._-]{{1,249}})"
)
_MAX_PORT = 65535
STREAM_FORMS = "rediss://host:port/NAME or kafka://host:port,host:port/TOPIC"
"""How locations of streams are written, for messages."""
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
    """Return whether it can be the location of a stream of sealed records.

    These are `rediss://host:port/NAME` and `kafka://host:port,host:port/TOPIC`.
    """
    return _stream(location) is not None


def is_topic(location: str) -> bool:
    """Return whether it can be the location of a stream in Kafka."""
    return is_stream(location) and location.startswith("kafka:")


def stream_addresses(location: str) -> tuple[tuple[str, int], ...]:
    """Return host and port of each server that a stream's location names: one Redis, or the brokers of a Kafka.

    Raises:
        Misuse: it is the location of no stream.
    """
    return _required(location)[0]


def stream_name(location: str) -> str:
    """Return the name of the stream, its key in Redis or its topic in Kafka.

    Raises:
        Misuse: it is the location of no stream.
    """
    return _required(location)[1]


def _required(location: str) -> tuple[tuple[tuple[str, int], ...], str]:
    stream = _stream(location)
    if stream is None:
        raise Misuse(f"not the location of a stream ({STREAM_FORMS}): {location!r}")
    return stream


def _stream(location: str) -> tuple[tuple[tuple[str, int], ...], str] | None:
    match = _REDIS.fullmatch(location) or _KAFKA.fullmatch(location)
    if match is None:
        return None
    servers = [server.rpartition(":") for server in match["servers"].split(",")]
    addresses = tuple((host, int(port)) for host, _, port in servers)
    return None if any(port > _MAX_PORT for _, port in addresses) else (addresses, match["name"])


def overlap(one: str, other: str) -> bool:
    """Return whether the locations are the same or one lies inside the other."""
    return one == other or one.startswith(other + "/") or other.startswith(one + "/")
