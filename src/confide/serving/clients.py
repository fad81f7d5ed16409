"""Who may ask, where the owner's configuration names clients: each by tokens, of which it holds the hashes alone.

Source: RFC 6750 (bearer tokens). In clear a token comes in the header `Authorization`, or gRPC's metadata of that name;
in sealed requests it is inside, so that whoever ends TLS does not get it.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time

from confide.broker.sessions import RateLimit
from confide.serving.admission import take
from confide.serving.configuration import Configuration
from confide.serving.envelope import TOKEN_CHARS
from confide.serving.failures import NotKnown

_TOKEN = re.compile(r"[0-9a-f]{64}")
_SCHEME = "bearer "


def new_token() -> str:
    """Return a random token, 64 hex digits."""
    return secrets.token_hex(TOKEN_CHARS // 2)


def is_token(text: str) -> bool:
    """Return whether a text is of the form of tokens."""
    return _TOKEN.fullmatch(text) is not None


def token_sha256(token: str) -> str:
    """Return the hash by which a configuration knows a token, 64 hex digits."""
    return hashlib.sha256(token.encode()).hexdigest()


def bearer(authorization: str) -> str:
    """Return the token in a header `Authorization`; empty: none."""
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        return ""
    return authorization[len(_SCHEME) :].strip()


class Clients:
    """The clients that are known.

    Args:
        configuration: names them; where it names none, anybody may ask.
    """

    def __init__(self, configuration: Configuration) -> None:
        # Found by its hash: how long that takes says nothing of a token.
        self._names = {
            digest: name for name, client in configuration.client.items() for digest in client.token_sha256
        }
        self._limits = {
            name: RateLimit(
                time.monotonic,
                client.rate_per_s or configuration.rate_per_s,
                client.burst or configuration.burst,
            )
            for name, client in configuration.client.items()
        }

    def take(self, token: str) -> str:
        """Return whose token this is, and count a request of theirs; empty: anybody may ask.

        Raises:
            NotKnown: nobody's.
            Overloaded: this client asks too often.
        """
        if not self._names:
            return ""
        name = self._names.get(token_sha256(token)) if is_token(token) else None
        if name is None:
            raise NotKnown("a token of a client is needed here, and none came that is known")
        take(self._limits[name], name)
        return name
