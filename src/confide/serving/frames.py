"""Several requests in one body, and their answers in another: of a relay and its worker. Format: formats/queue.md.

A frame is three lengths or numbers (which request, bytes of its head, bytes of its body; 4 bytes each, big-endian), the
head, which is JSON, and the body.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from confide.serving.failures import InvalidRequest

BATCH_PATH = "/confide/v1/serving/batch"
BATCH_TYPE = "application/vnd.confide.batch"
MAX_FRAMES = 256
MAX_HEAD_BYTES = 16 * 1024
_FIXED = struct.Struct(">III")


@dataclass(frozen=True)
class Frame:
    """A request, or an answer.

    Attributes:
        number: of the request in its batch; its answer has the same.
        head: JSON; of a request method, path, query and headers, of an answer status and headers.
        body: of it.
    """

    number: int
    head: bytes
    body: bytes

    def encode(self) -> bytes:
        """Return its bytes."""
        return _FIXED.pack(self.number, len(self.head), len(self.body)) + self.head + self.body


@dataclass(frozen=True)
class RequestHead:
    """What a request is, beside its body.

    Attributes:
        method, path, query: of HTTP.
        headers: lower-case name -> value.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return its JSON."""
        said = {"method": self.method, "path": self.path, "query": self.query, "headers": dict(self.headers)}
        return json.dumps(said, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> RequestHead:
        """Read it.

        Raises:
            InvalidRequest: of another form.
        """
        said = _object(data)
        head = cls(said.get("method", ""), said.get("path", ""), said.get("query", ""), _headers(said))
        if not all(isinstance(text, str) for text in (head.method, head.path, head.query)):
            raise InvalidRequest("a batch: a head of another form")
        return head


@dataclass(frozen=True)
class AnswerHead:
    """What an answer is, beside its body.

    Attributes:
        status: of HTTP.
        headers: lower-case name -> value.
    """

    status: int
    headers: Mapping[str, str]

    def encode(self) -> bytes:
        """Return its JSON."""
        said = {"status": self.status, "headers": dict(self.headers)}
        return json.dumps(said, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> AnswerHead:
        """Read it.

        Raises:
            InvalidRequest: of another form.
        """
        said = _object(data)
        status = said.get("status")
        if type(status) is not int or not 200 <= status <= 599:
            raise InvalidRequest("a batch: no status of HTTP")
        return cls(status, _headers(said))


def frames(data: bytes) -> list[Frame]:
    """Return the frames of a body.

    Raises:
        InvalidRequest: it does not consist of frames, or of too many.
    """
    reader = FrameReader()
    found = list(reader.feed(data))
    if reader.left:
        raise InvalidRequest("a batch: a frame that is cut off")
    if len(found) > MAX_FRAMES:
        raise InvalidRequest(f"a batch has at most {MAX_FRAMES} requests")
    return found


class FrameReader:
    """Takes bytes as they come, and gives the frames that are whole."""

    def __init__(self) -> None:
        self._data = bytearray()

    @property
    def left(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._data)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take bytes, and yield what is whole now.

        Raises:
            InvalidRequest: a head that is too long.
        """
        self._data += data
        place = 0
        while len(self._data) - place >= _FIXED.size:
            number, head, body = _FIXED.unpack_from(self._data, place)
            if head > MAX_HEAD_BYTES:
                raise InvalidRequest("a batch: a head that is too long")
            start = place + _FIXED.size
            if len(self._data) < start + head + body:
                break
            place = start + head + body
            view = bytes(self._data[start:place])
            yield Frame(number, view[:head], view[head:])
        del self._data[:place]


def _object(data: bytes) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidRequest("a batch: a head that is not JSON") from None
    if not isinstance(said, dict):
        raise InvalidRequest("a batch: a head of another form")
    return said


def _headers(said: Mapping[str, Any]) -> dict[str, str]:
    headers = said.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise InvalidRequest("a batch: headers of another form")
    return headers
