"""What goes into a queue and comes out of it: requests, and their answers. Format: docs/formats/queue.md."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass

from confide.serving.envelope import Target
from confide.serving.failures import InvalidRequest
from confide.serving.sealed import HEADER_BYTES

_ID = re.compile(rb"[0-9a-f]{32,128}")


@dataclass(frozen=True)
class Asked:
    """A request, as it is put into the queue.

    Attributes:
        id: what identifies it, hex.
        digest: of all that is asked: another request may not have its id.
        head, body: as of a `Frame`.
    """

    id: bytes
    digest: bytes
    head: bytes
    body: bytes

    @classmethod
    def sealed(cls, target: Target, head: bytes, body: bytes) -> Asked:
        """Return a sealed request, which its header identifies.

        Raises:
            InvalidRequest: too short for one.
        """
        if len(body) < HEADER_BYTES:
            raise InvalidRequest("step 1: not a sealed request of version 1")
        digest = hashlib.sha256(body + target.encode()).digest()
        return cls(body[1:HEADER_BYTES].hex().encode(), digest, head, body)

    @classmethod
    def single(cls, head: bytes) -> Asked:
        """Return a request that is never the same as another one."""
        name = os.urandom(16).hex().encode()
        return cls(name, name, head, b"")


@dataclass(frozen=True)
class Answered:
    """An answer, as it lies in the queue.

    Attributes:
        head, body: as of a `Frame`.
    """

    head: bytes
    body: bytes


@dataclass(frozen=True)
class Entry:
    """A request that was taken out to be answered.

    Attributes:
        entry: its id in the stream.
        id: of the request.
        head, body: of it.
        deliveries: how often it was taken out, this time included.
    """

    entry: bytes
    id: bytes
    head: bytes
    body: bytes
    deliveries: int = 1

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return len(self.head) + len(self.body)

    @property
    def is_request(self) -> bool:
        """Whether it is one: whoever has the store can put anything there."""
        return _ID.fullmatch(self.id) is not None
