"""Sessions of the KBS protocol, nonces of owner calls, and the rate at which one address may ask.

All of it lives in memory and is bounded; who floods the broker is slowed down before that. Unfinished sessions push out
unfinished ones alone. Attested ones push out attested ones, first those of measurements that no policy names: only who
can attest what an owner approved, thousands of times in five minutes, ends another's session. That one's token stays
good, and it can attest anew.
"""

from __future__ import annotations

import base64
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from confide.attestation.claims import Claims
from confide.attestation.evidence import NONCE_BYTES
from confide.errors import AttestationRefused, BrokerUnavailable, SignatureRefused

CHALLENGE_TTL_S = 60.0
ATTESTED_TTL_S = 300.0
MAX_SESSIONS = 10_000
MAX_NONCES = 10_000
MAX_ADDRESSES = 10_000

Clock = Callable[[], float]
"""Seconds of a clock that never goes back."""


@dataclass(frozen=True)
class Challenged:
    """A session that got a challenge: its nonce serves one attestation."""

    tee: str
    nonce: str
    version: str
    expires: float


@dataclass(frozen=True)
class Attested:
    """A session whose evidence was accepted."""

    claims: Claims
    expires: float


_State = TypeVar("_State", Challenged, Attested)


class Sessions:
    """The sessions of a broker, by the identifier in the client's cookie."""

    def __init__(self, clock: Clock, max_sessions: int = MAX_SESSIONS) -> None:
        self._clock = clock
        self._max = max_sessions
        self._lock = threading.Lock()
        self._challenged: OrderedDict[str, Challenged] = OrderedDict()
        self._known: OrderedDict[str, Attested] = OrderedDict()
        self._strangers: OrderedDict[str, Attested] = OrderedDict()

    def challenge(self, tee: str, version: str) -> tuple[str, str]:
        """Open a session of this TEE and version of the protocol; return its identifier and its nonce."""
        identifier = secrets.token_urlsafe(32)
        nonce = base64.b64encode(secrets.token_bytes(NONCE_BYTES)).decode()
        with self._lock:
            self._expire()
            while len(self._challenged) >= self._max:
                self._challenged.popitem(last=False)
            self._challenged[identifier] = Challenged(tee, nonce, version, self._clock() + CHALLENGE_TTL_S)
        return identifier, nonce

    def challenged_tee(self, identifier: str) -> str | None:
        """Return the TEE that a session with an open challenge named; None where there is no such session."""
        with self._lock:
            challenged = self._challenged.get(identifier)
        return challenged.tee if challenged else None

    def take_challenge(self, identifier: str) -> Challenged:
        """Return the challenge of a session, which ends with it: a nonce is good for one attempt.

        Raises:
            AttestationRefused: no such session, or its challenge was used or has expired.
        """
        with self._lock:
            challenged = self._challenged.pop(identifier, None)
        if challenged is None or challenged.expires <= self._clock():
            raise AttestationRefused("no open challenge in this session: unknown, used or expired")
        return challenged

    def attested(self, identifier: str, claims: Claims, *, known: bool) -> None:
        """Remember that the evidence of a session was accepted; where there are too many, the oldest one goes.

        Args:
            identifier: of the session.
            claims: of the evidence.
            known: whether a policy names the measurement; sessions of others go first.
        """
        sessions = self._known if known else self._strangers
        with self._lock:
            self._expire()
            while len(self._known) + len(self._strangers) >= self._max:
                (self._strangers or self._known).popitem(last=False)
            sessions[identifier] = Attested(claims, self._clock() + ATTESTED_TTL_S)

    def claims(self, identifier: str) -> Claims:
        """Return the claims of an attested session.

        Raises:
            AttestationRefused: no such session, not attested, or expired.
        """
        with self._lock:
            attested = self._known.get(identifier) or self._strangers.get(identifier)
        if attested is None or attested.expires <= self._clock():
            raise AttestationRefused("not an attested session: unknown or expired")
        return attested.claims

    def _expire(self) -> None:
        now = self._clock()
        _drop_expired(self._challenged, now)
        _drop_expired(self._known, now)
        _drop_expired(self._strangers, now)


def _drop_expired(sessions: OrderedDict[str, _State], now: float) -> None:
    while sessions and next(iter(sessions.values())).expires <= now:  # oldest first
        sessions.popitem(last=False)


class Nonces:
    """Nonces of owner calls (RFC 8555 section 6.5): each good for one call."""

    def __init__(self, clock: Clock, max_nonces: int = MAX_NONCES) -> None:
        self._clock = clock
        self._max = max_nonces
        self._lock = threading.Lock()
        self._expires: OrderedDict[str, float] = OrderedDict()

    def issue(self) -> str:
        """Return a fresh nonce; the oldest is forgotten when there are too many."""
        nonce = secrets.token_urlsafe(24)
        with self._lock:
            while len(self._expires) >= self._max:
                self._expires.popitem(last=False)
            self._expires[nonce] = self._clock() + ATTESTED_TTL_S
        return nonce

    def take(self, nonce: str) -> None:
        """Use a nonce up.

        Raises:
            SignatureRefused: not issued here, used before, or expired.
        """
        with self._lock:
            expires = self._expires.pop(nonce, None)
        if expires is None or expires <= self._clock():
            raise SignatureRefused("nonce of the call is unknown, used or expired")


class RateLimit:
    """A token bucket for each client address.

    Args:
        clock: seconds.
        rate_per_s: sustained requests per second.
        burst: requests at once.
    """

    def __init__(self, clock: Clock, rate_per_s: float, burst: int) -> None:
        self._clock = clock
        self._rate = rate_per_s
        self._burst = float(burst)
        self._lock = threading.Lock()
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str) -> None:
        """Count one request of `address`.

        Raises:
            BrokerUnavailable: it asks too often.
        """
        now = self._clock()
        with self._lock:
            level, since = self._buckets.pop(address, (self._burst, now))
            level = min(self._burst, level + (now - since) * self._rate)
            self._buckets[address] = (max(level - 1.0, 0.0) if level >= 1.0 else level, now)
            while len(self._buckets) > MAX_ADDRESSES:
                self._buckets.popitem(last=False)
        if level < 1.0:
            raise BrokerUnavailable("too many requests from this address")
