"""Streams of sealed records in a Redis: rows in, and rows out. Format: docs/formats/sealed-record.md.

    redis = redis_client("redis.clinic.example", 6380, user="ward", password=..., authority=Path("ca.pem").read_bytes())
    writer = StreamWriter(redis, "pulses", keyset, KeyName.parse("clinic/pulses"))
    writer.send([b'{"patient": "a", "rate": 61}'])

`confide.data.redis_client` makes a client that speaks TLS 1.3 and verifies; another `redis.Redis` has the TLS that its
caller gave it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any, Protocol

from confide.data.records import AT_ONCE, RecordOpener, RecordSealer
from confide.errors import NotEncrypted
from confide.keys.material import Keyset
from confide.keys.names import KeyName

APPEND = resources.files("confide.data").joinpath("append.lua").read_text("utf-8")
"""The script that appends records, each once."""
_FIELD = b"record"


class Redis(Protocol):
    """What is used of a client, which answers in bytes (`decode_responses=False`, as by default)."""

    def eval(self, script: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script."""

    def xrange(self, name: str, min: str, max: str, count: int) -> Any:  # noqa: A002
        """Return entries of a stream."""


class StreamWriter:
    """Appends rows to a stream as one producer.

    Args:
        redis: a client.
        stream: name of the stream.
        keyset: holds `key`.
        key: of the stream.

    Raises:
        UnknownKey, RevokedKey: the key is not held, or was revoked.
    """

    def __init__(self, redis: Redis, stream: str, keyset: Keyset, key: KeyName) -> None:
        self._redis, self._stream = redis, stream
        self._sealer = RecordSealer(keyset, key, stream)
        self._waiting: list[bytes] = []

    def send(self, rows: Sequence[bytes]) -> None:
        """Append rows. After an error of the client, sending again, with further rows or none, appends what is missing.

        Raises:
            Misuse: a row of more than 256 KiB; rows before it are appended with the next call.
        """
        for row in rows:
            self._waiting.append(self._sealer.seal(row))
        while self._waiting:
            self._append(self._waiting[:AT_ONCE])
            del self._waiting[:AT_ONCE]

    @property
    def appended(self) -> int:
        """Return how many rows the stream is known to have."""
        return self._sealer.number - len(self._waiting)

    def _append(self, records: Sequence[bytes]) -> None:
        names = (self._stream, producers(self._stream))
        who = (self._sealer.producer.hex(), self._sealer.data_key_id)
        self._redis.eval(APPEND, 2, *names, *who, self.appended + 1, *records)


def read_stream(
    redis: Redis,
    stream: str,
    keyset: Keyset,
    key: KeyName,
    *,
    after: str = "0-0",
    last: Mapping[bytes, int] | None = None,
    whole: bool = True,
) -> Iterator[tuple[str, bytes, Mapping[bytes, int]]]:
    """Yield the entries of a stream that are there now: id, row, and what `last` is after it.

    Args:
        redis: a client.
        stream: name of the stream.
        keyset: holds `key`.
        key: of the stream.
        after: id of the entry that was read last.
        last: as it was after that entry.
        whole: see `RecordOpener`.

    Raises:
        NotEncrypted: an entry that holds something else.
        UnknownKey, RevokedKey, InvalidFormat, Tampered: as `RecordOpener.open`.
    """
    opener = RecordOpener(keyset, key, stream, last=last, whole=whole)
    while entries := redis.xrange(stream, min=f"({after}", max="+", count=AT_ONCE):
        for name, fields in entries:
            if set(fields) != {_FIELD}:
                raise NotEncrypted("an entry of the stream has other fields than a sealed record")
            after = name.decode()
            yield after, opener.open(fields[_FIELD]), opener.last


def producers(stream: str) -> str:
    """Return the key of the hash that holds how far each producer of a stream is."""
    return f"{{{stream}}}:producers"
