"""What is inside sealed requests and replies, and what both are bound to. Format: docs/formats/serving.md."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import lru_cache

from confide.serving.failures import InvalidRequest
from confide.serving.oip import Body

MAX_TEXT_BYTES = 1024
TOKEN_CHARS = 64
_NO_JSON_LENGTH = 2**32 - 1
_REQUEST = struct.Struct(">BQII")
_REPLY = struct.Struct(">HII")
_PADDED, _TOKEN = 1, 2
_SMALLEST_BUCKET = 512


@dataclass(frozen=True)
class Target:
    """What a request is for. It travels in clear, and a sealed request opens for this target alone.

    Attributes:
        operation: `infer`, `metadata` or `session`.
        model, version: empty: none, or whichever is the highest.
        context: whatever else the client binds its request to, for instance a tenant.
    """

    operation: str
    model: str = ""
    version: str = ""
    context: str = ""

    def encode(self) -> bytes:
        """Return its fields, each behind its length in two bytes.

        Raises:
            InvalidRequest: one is longer than 1024 bytes.
        """
        return _encoded(self.operation, self.model, self.version, self.context)


@lru_cache(maxsize=1024)
def _encoded(*texts: str) -> bytes:
    encoded = b""
    for text in texts:
        raw = text.encode()
        if len(raw) > MAX_TEXT_BYTES:
            raise InvalidRequest("a model's name, version or context is too long")
        encoded += len(raw).to_bytes(2, "big") + raw
    return encoded


@dataclass(frozen=True)
class RequestContent:
    """A request, as it is sealed.

    Attributes:
        body: of the protocol.
        not_after_ms: Unix milliseconds after which nobody is to answer.
        padded: this is padded, and the reply is to be.
        token: of the client; empty: none.
    """

    body: Body
    not_after_ms: int
    padded: bool = False
    token: str = field(default="", repr=False)

    def encode(self) -> bytes:
        """Return its bytes."""
        flags = (_PADDED if self.padded else 0) | (_TOKEN if self.token else 0)
        fixed = _REQUEST.pack(flags, self.not_after_ms, _json_bytes(self.body), len(self.body.data))
        return _padded(fixed + self.token.encode() + bytes(self.body.data), self.padded)

    @classmethod
    def decode(cls, data: memoryview) -> RequestContent:
        """Read it.

        Raises:
            InvalidRequest: of another form.
        """
        if len(data) < _REQUEST.size:
            raise InvalidRequest("sealed request: its content is cut off")
        flags, not_after_ms, json_bytes, size = _REQUEST.unpack_from(data)
        if flags & ~(_PADDED | _TOKEN):
            raise InvalidRequest("sealed request: unknown flags")
        rest, token = data[_REQUEST.size :], ""
        if flags & _TOKEN:
            token, rest = bytes(rest[:TOKEN_CHARS]).decode("latin-1"), rest[TOKEN_CHARS:]
        return cls(_body(rest, json_bytes, size), not_after_ms, bool(flags & _PADDED), token)


@dataclass(frozen=True)
class ReplyContent:
    """A reply, as it is sealed.

    Attributes:
        status: HTTP status that it would have in clear.
        body: of the protocol; of an error, its JSON.
    """

    status: int
    body: Body

    def encode(self, *, padded: bool) -> bytes:
        """Return its bytes."""
        fixed = _REPLY.pack(self.status, _json_bytes(self.body), len(self.body.data))
        return _padded(fixed + bytes(self.body.data), padded)

    @classmethod
    def decode(cls, data: memoryview) -> ReplyContent:
        """Read it.

        Raises:
            InvalidRequest: of another form.
        """
        if len(data) < _REPLY.size:
            raise InvalidRequest("sealed reply: its content is cut off")
        status, json_bytes, size = _REPLY.unpack_from(data)
        return cls(status, _body(data[_REPLY.size :], json_bytes, size))


def _json_bytes(body: Body) -> int:
    return _NO_JSON_LENGTH if body.json_bytes is None else body.json_bytes


def _body(rest: memoryview, json_bytes: int, size: int) -> Body:
    if size > len(rest) or (json_bytes != _NO_JSON_LENGTH and json_bytes > size):
        raise InvalidRequest("sealed content: its lengths do not fit")
    if rest[size:].tobytes().strip(b"\0"):
        raise InvalidRequest("sealed content: padding that is not zero")
    return Body(rest[:size], None if json_bytes == _NO_JSON_LENGTH else json_bytes)


def _padded(data: bytes, padded: bool) -> bytes:
    """Fill up to a power of two, from 512 on."""
    if not padded:
        return data
    return data.ljust(max(_SMALLEST_BUCKET, 1 << (len(data) - 1).bit_length()), b"\0")
