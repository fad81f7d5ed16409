"""Sealed requests and replies: HPKE to a pool key (RFC 9180), or AES-256-GCM under a ticket for high rates.

Request: version, kind, key id (16), request id (16), then for a fresh one HPKE's encapsulated key and ciphertext, for
one under a ticket the ticket (72) and ciphertext. Reply: version, kind, nonce (12), ciphertext. Both are bound to the
request's header and its target. Format: docs/formats/serving.md.
"""

from __future__ import annotations

import os
import struct
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from confide.errors import Tampered
from confide.serving.envelope import ReplyContent, RequestContent, Target
from confide.serving.failures import Expired, InvalidRequest
from confide.serving.pool_key import KEY_ID_BYTES, PoolKeys, PoolPublicKey
from confide.serving.ticket import TICKET_BYTES, HeldTicket, Session, open_ticket, session_id

MEDIA_TYPE = "application/vnd.confide.sealed"
CONTEXT_HEADER, ERROR_HEADER = "confide-context", "confide-error"
VERSION = 1
FRESH, TICKETED, REPLY = 1, 2, 3
HEADER_BYTES = 2 + KEY_ID_BYTES + 16
NONCE_BYTES = 12
REPLY_KEY_BYTES = 32
MAX_AHEAD_MS = 600_000
"""How far in the future the end of a request may lie."""
MAX_SESSIONS = 4096

_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_REQUEST_INFO, _REPLY_INFO = b"confide/v1/serving/request\0", b"confide/v1/serving/reply\0"
_COUNTER = struct.Struct(">Q")
_ENCAPSULATED_BYTES, _TAG_BYTES = 32, 16


@dataclass(frozen=True)
class ReplyKey:
    """What opens and seals the reply to one request.

    Attributes:
        bound: header and target of the request.
    """

    _cipher: AESGCM = field(repr=False)
    bound: bytes

    def seal(self, reply: ReplyContent, *, padded: bool) -> bytes:
        """Return a sealed reply. The nonce is random: several workers may answer one request, each its own way."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, reply.encode(padded=padded), _REPLY_INFO + self.bound)
        return bytes((VERSION, REPLY)) + nonce + sealed

    def open(self, data: bytes) -> ReplyContent:
        """Open a sealed reply.

        Raises:
            Tampered: changed, or the reply to another request.
            InvalidRequest: of another form.
        """
        if len(data) < 2 + NONCE_BYTES + _TAG_BYTES or data[:2] != bytes((VERSION, REPLY)):
            raise InvalidRequest("not a sealed reply of version 1")
        nonce, sealed = data[2 : 2 + NONCE_BYTES], data[2 + NONCE_BYTES :]
        try:
            plain = self._cipher.decrypt(nonce, sealed, _REPLY_INFO + self.bound)
        except InvalidTag:
            raise Tampered("the reply is not one to this request, or was changed") from None
        return ReplyContent.decode(memoryview(plain))


@dataclass(frozen=True)
class OpenedRequest:
    """A request that a worker opened.

    Attributes:
        id: by which it is answered once, 16 bytes.
        content: of it.
        reply: seals the reply.
        key_id: of the pool key that it was sealed to, directly or through its ticket.
    """

    id: bytes
    content: RequestContent
    reply: ReplyKey
    key_id: bytes


def seal_fresh(
    content: RequestContent, target: Target, key: PoolPublicKey, request_id: bytes | None = None
) -> tuple[bytes, ReplyKey]:
    """Seal a request to a pool key; return it, and what opens its reply.

    Args:
        content: what only workers of the pool are to read.
        target: what it is for.
        key: of the pool.
        request_id: 16 bytes, of a request that may be sent several times; None: random.
    """
    header = bytes((VERSION, FRESH)) + key.id + (request_id or os.urandom(16))
    bound = header + target.encode()
    reply_key = os.urandom(REPLY_KEY_BYTES)
    sealed = _SUITE.encrypt(reply_key + content.encode(), key.key, _REQUEST_INFO + bound)
    return header + sealed, ReplyKey(AESGCM(reply_key), bound)


def seal_ticketed(content: RequestContent, target: Target, held: HeldTicket) -> tuple[bytes, ReplyKey]:
    """Seal a request under a ticket; return it, and what opens its reply.

    Raises:
        Expired: the ticket was used as often, or as long, as it may be.
    """
    counter = held.next_counter()
    header = bytes((VERSION, TICKETED)) + held.key_id + session_id(held.ticket) + _COUNTER.pack(counter)
    bound = header + target.encode()
    sealed = held.session.request.encrypt(
        _nonce(counter), content.encode(), _REQUEST_INFO + bound + held.ticket
    )
    return header + held.ticket + sealed, ReplyKey(held.session.reply, bound)


class Opener:
    """Opens sealed requests.

    Args:
        keys: of the pool.
    """

    def __init__(self, keys: PoolKeys) -> None:
        self.keys = keys
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()

    def open(self, data: bytes, target: Target, now_ms: int | None = None) -> OpenedRequest:
        """Open a request.

        1. It is of a version and kind that is known, and long enough.
        2. It names a live version of the pool key.
        3. Under a ticket: that opens, has not expired, and the counter is within its uses.
        4. It opens, for this header and this target.
        5. Its content is of the form.
        6. Its end lies in the future, by ten minutes at most.

        Args:
            data: nothing in it is trusted.
            target: what the request was sent for.
            now_ms: Unix milliseconds; None: now.

        Raises:
            InvalidRequest: step 1, 5 or 6. UnknownKey: step 2. Expired: step 3 or 6. Tampered: step 3 or 4.
        """
        now_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        if len(data) < HEADER_BYTES or data[0] != VERSION or data[1] not in (FRESH, TICKETED):
            raise InvalidRequest("step 1: not a sealed request of version 1")
        header, identifier = data[:HEADER_BYTES], data[2 : 2 + KEY_ID_BYTES]
        bound = header + target.encode()
        opened = self._fresh if data[1] == FRESH else self._ticketed
        plain, reply = opened(data, identifier, bound, now_ms // 1000)
        content = RequestContent.decode(plain)
        if content.not_after_ms <= now_ms:
            raise Expired("step 6: the request's end is over")
        if content.not_after_ms > now_ms + MAX_AHEAD_MS:
            raise InvalidRequest("step 6: the request's end lies more than ten minutes ahead")
        return OpenedRequest(
            data[2 + KEY_ID_BYTES : HEADER_BYTES], content, ReplyKey(reply, bound), identifier
        )

    def _fresh(self, data: bytes, identifier: bytes, bound: bytes, now_s: int) -> tuple[memoryview, AESGCM]:
        del now_s
        if len(data) < HEADER_BYTES + _ENCAPSULATED_BYTES + REPLY_KEY_BYTES + _TAG_BYTES:
            raise InvalidRequest("step 1: a sealed request that is cut off")
        key = self.keys.key(identifier)
        try:
            plain = _SUITE.decrypt(data[HEADER_BYTES:], key.private, _REQUEST_INFO + bound)
        except (InvalidTag, ValueError):
            raise Tampered("step 4: the request does not open for this model, version and context") from None
        return memoryview(plain)[REPLY_KEY_BYTES:], AESGCM(plain[:REPLY_KEY_BYTES])

    def _ticketed(
        self, data: bytes, identifier: bytes, bound: bytes, now_s: int
    ) -> tuple[memoryview, AESGCM]:
        if len(data) < HEADER_BYTES + TICKET_BYTES + _TAG_BYTES:
            raise InvalidRequest("step 1: a sealed request that is cut off")
        ticket = data[HEADER_BYTES : HEADER_BYTES + TICKET_BYTES]
        session = self._session(ticket, identifier)
        (counter,) = _COUNTER.unpack(data[HEADER_BYTES - _COUNTER.size : HEADER_BYTES])
        if data[2 + KEY_ID_BYTES : HEADER_BYTES - _COUNTER.size] != session_id(ticket):
            raise Tampered("step 3: the request names another ticket than it has")
        session.check(counter, now_s)
        try:
            plain = session.request.decrypt(
                _nonce(counter), data[HEADER_BYTES + TICKET_BYTES :], _REQUEST_INFO + bound + ticket
            )
        except InvalidTag:
            raise Tampered("step 4: the request does not open for this model, version and context") from None
        return memoryview(plain), session.reply

    def _session(self, ticket: bytes, identifier: bytes) -> Session:
        key = self.keys.key(identifier)
        cached = self._sessions.get(identifier + ticket)
        if cached is not None:
            return cached
        session = open_ticket(ticket, key)
        self._sessions[identifier + ticket] = session
        if len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(NONCE_BYTES, "big")
