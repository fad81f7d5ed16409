"""Asks the agent for a per-run secret, over its socket."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from confide.errors import Refused

MAX_ANSWER_BYTES = 1024 * 1024


def ask(path: Path, name: str) -> dict[str, Any]:
    """Return the secret of that name.

    Raises:
        Refused: the agent has none of that name.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(path))
        connection.sendall(json.dumps({"op": "secret", "name": name}).encode() + b"\n")
        with connection.makefile("rb") as stream:
            answer = json.loads(stream.readline(MAX_ANSWER_BYTES))
    if "secret" not in answer:
        raise Refused(f"secret {name!r}: {answer.get('message')}")
    secret: dict[str, Any] = answer["secret"]
    return secret
