"""Session tickets: for clients with many requests, a key of their own instead of HPKE in each.

A ticket is the session, sealed for the pool itself: any worker opens it, none has to remember it. It is good for a
time and a number of requests, and under one version of the pool key. Format: docs/formats/serving.md.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from confide.errors import Tampered
from confide.serving.failures import Expired
from confide.serving.pool_key import PoolKey

SECRET_BYTES = 32
LIFETIME_S = 3600
USES = 1_000_000

_FORM = struct.Struct(">32sQI")
_NONCE_BYTES, _TAG_BYTES = 12, 16
TICKET_BYTES = _NONCE_BYTES + _FORM.size + _TAG_BYTES
_INFO = b"confide/v1/serving/ticket\0"
_REQUEST, _REPLY = b"confide/v1/serving/ticket-request", b"confide/v1/serving/ticket-reply"


@dataclass(frozen=True)
class Session:
    """What a ticket stands for.

    Attributes:
        request: seals and opens requests.
        reply: the same of replies.
        expires: Unix seconds.
        uses: requests that may be made under it.
    """

    request: AESGCM = field(repr=False)
    reply: AESGCM = field(repr=False)
    expires: int
    uses: int

    @classmethod
    def of(cls, secret: bytes, expires: int, uses: int) -> Session:
        """Derive a session from its 32-byte secret."""
        return cls(AESGCM(_derived(secret, _REQUEST)), AESGCM(_derived(secret, _REPLY)), expires, uses)

    def check(self, counter: int, now_s: int) -> None:
        """Return if a request with this counter may be made now.

        Raises:
            Expired: the ticket's time is over, or it was used as often as it may be.
        """
        if now_s >= self.expires:
            raise Expired("step 3: the ticket has expired")
        if counter >= self.uses:
            raise Expired("step 3: the ticket was used up")


@dataclass(frozen=True)
class HeldTicket:
    """A ticket in the hands of its client.

    Attributes:
        ticket: as the pool gave it.
        key_id: of the pool key that it is under.
        session: what it stands for.

    It serves the process that got it: a fork's would count the same numbers again, which are nonces.
    """

    ticket: bytes
    key_id: bytes
    session: Session
    _counters: Iterator[int] = field(default_factory=itertools.count, repr=False)
    _process: int = field(default_factory=os.getpid, repr=False)

    def next_counter(self) -> int:
        """Return the number of the next request: no two have the same.

        Raises:
            Expired: the ticket was used as often, or as long, as it may be, or is another process's.
        """
        if os.getpid() != self._process:
            raise Expired("the ticket is another process's, which counts its requests itself")
        counter = next(self._counters)  # atomic
        self.session.check(counter, int(time.time()))
        return counter


def new_ticket(key: PoolKey, now_s: int) -> tuple[bytes, bytes, int, int]:
    """Return a ticket under a version of the pool key, and its secret, end (Unix seconds) and number of uses."""
    secret, expires = os.urandom(SECRET_BYTES), now_s + LIFETIME_S
    nonce = os.urandom(_NONCE_BYTES)
    sealed = key.tickets.encrypt(nonce, _FORM.pack(secret, expires, USES), _INFO + key.public.id)
    return nonce + sealed, secret, expires, USES


def open_ticket(ticket: bytes, key: PoolKey) -> Session:
    """Return the session of a ticket.

    Raises:
        Tampered: not of this pool and version of its key, or changed.
    """
    try:
        plain = key.tickets.decrypt(ticket[:_NONCE_BYTES], ticket[_NONCE_BYTES:], _INFO + key.public.id)
    except InvalidTag:
        raise Tampered("step 3: the ticket is not one of this pool") from None
    return Session.of(*_FORM.unpack(plain))


def session_id(ticket: bytes) -> bytes:
    """Return the first half of the ids of requests under a ticket, 8 bytes."""
    return hashlib.sha256(ticket).digest()[:8]


def _derived(secret: bytes, purpose: bytes) -> bytes:
    return HKDF(hashes.SHA256(), SECRET_BYTES, salt=None, info=purpose).derive(secret)
