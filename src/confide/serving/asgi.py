"""What applications of ASGI here have in common: where requests are for, who sends them, and how answers are sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

from confide.broker.acceptor import one_client
from confide.errors import ConfideError
from confide.serving.admission import Account
from confide.serving.envelope import Target
from confide.serving.failures import InvalidRequest, NotKnown, Overloaded, UnknownModel
from confide.serving.identity import MAX_NONCE_CHARS
from confide.serving.sealed import ERROR_HEADER
from confide.serving.service import error_body

PIECE_BYTES = 256 * 1024
"""A longer answer goes in such pieces, as its client takes them."""

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = Mapping[bytes, bytes]
_JSON = b"application/json"


class NotFound(UnknownModel):
    """No such endpoint."""


@lru_cache(maxsize=1024)
def target_of(path: str) -> Target | None:
    """Return what is asked by POST to a path; None: nothing that is sealed."""
    match path.strip("/").split("/"):
        case ["v2", "models", model, "infer"]:
            return Target("infer", model)
        case ["v2", "models", model, "versions", version, "infer"]:
            return Target("infer", model, version)
        case ["v2", "models", model]:
            return Target("metadata", model)
        case ["v2", "models", model, "versions", version]:
            return Target("metadata", model, version)
        case ["confide", "v1", "serving", "session"]:
            return Target("session")
    return None


def client_of(scope: Scope) -> str:
    """Return whom a request is counted for: an address, or a network."""
    return one_client(scope["client"][0]) if scope.get("client") else ""


def nonce_of(scope: Scope) -> str:
    """Return the nonce that an introduction is asked with; empty: none.

    Raises:
        InvalidRequest: of another form.
    """
    nonce: str = parse_qs(scope["query_string"].decode("latin-1")).get("nonce", [""])[0]
    if len(nonce) > MAX_NONCE_CHARS or (nonce and not (nonce.isascii() and nonce.isalnum())):
        raise InvalidRequest(f"a nonce has up to {MAX_NONCE_CHARS} letters and digits")
    return nonce


def declared_length(headers: Headers) -> int:
    """Return how long a body says that it is; more than is ever allowed where that is no number."""
    declared = headers.get(b"content-length", b"0")
    return int(declared) if declared.isdigit() and len(declared) <= 15 else 2**63


async def read_body(receive: Receive, account: Account) -> bytes:
    """Return a body, counted as it comes.

    Raises:
        InvalidRequest: cut off.
        Overloaded: there are too many bytes at once.
    """
    parts: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise InvalidRequest("the request was cut off")
        parts.append(message.get("body", b""))
        account.add(len(parts[-1]))
        more = message.get("more_body", False)
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def send_json(send: Send, value: dict[str, Any]) -> None:
    """Send JSON."""
    await send_answer(send, 200, json.dumps(value).encode())


async def send_error(send: Send, error: ConfideError) -> None:
    """Say why there is no answer."""
    more = [(ERROR_HEADER.encode(), type(error).__name__.encode()), (b"connection", b"close")]
    if isinstance(error, NotKnown):
        more.append((b"www-authenticate", b"Bearer"))
    if isinstance(error, Overloaded):
        more[1:] = [(b"retry-after", str(int(-(-error.retry_after_s // 1))).encode())]
    await send_answer(send, error.http_status, bytes(error_body(error).data), *more)


async def send_answer(
    send: Send, status: int, body: bytes, *more: tuple[bytes, bytes], content_type: bytes = _JSON
) -> None:
    """Send an answer, in pieces where it is long."""
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for place in range(0, len(body) - PIECE_BYTES, PIECE_BYTES):
        piece = body[place : place + PIECE_BYTES]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)  # it is written, and the next one waits until its client has taken most of it
    rest = body[(len(body) - 1) // PIECE_BYTES * PIECE_BYTES :] if len(body) > PIECE_BYTES else body
    await send({"type": "http.response.body", "body": rest})
