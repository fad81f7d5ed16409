"""Unix sockets inside the enclave: on each connection one line of JSON asks the agent, and one answers."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from confide.enclave.libos import inside_libos
from confide.errors import ConfideError, Unavailable, told

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
TIMEOUT_S = 60.0
AT_ONCE = 64
"""Requests that are answered at once; others wait."""
PAUSE_S = 0.1


class Listener:
    """Serves processes of this user on a Unix socket until `close`, each in a thread of its own.

    Args:
        path: of the socket; its folder must be this process's own and closed to others.
        serve: serves a connection, which is closed afterwards.
        at_once: connections that are served at once; others wait.
    """

    def __init__(self, path: Path, serve: Callable[[socket.socket], None], at_once: int = AT_ONCE) -> None:
        self._serve = serve
        self._slots = threading.BoundedSemaphore(at_once)
        self._closed = False
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        if not inside_libos():  # there it is no file, and every process is the enclave's own
            path.chmod(0o600)
        self._listener.listen(64)
        threading.Thread(target=self._accept, name=path.name, daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            self._slots.acquire()
            try:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._attend, args=(connection,), daemon=True).start()
            except (OSError, RuntimeError):  # no more descriptors or threads for now, or the end
                self._slots.release()
                if self._closed:
                    return
                time.sleep(PAUSE_S)

    def _attend(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(TIMEOUT_S)
                if inside_libos() or _peer_uid(connection) == os.getuid():
                    self._serve(connection)
        except OSError:
            return  # the peer went away
        finally:
            self._slots.release()


class LineSocket(Listener):
    """Answers one line on each connection.

    Args:
        path: of the socket.
        answer: from a line, which may have any form and one byte too many, to its answer; what it refuses is an
            answer too.
        most: bytes of a request.
    """

    def __init__(self, path: Path, answer: Callable[[bytes], Mapping[str, Any]], most: int) -> None:
        self._answer, self._most = answer, most
        super().__init__(path, self._one_line)

    def answer(self, line: bytes) -> Mapping[str, Any]:
        """Return the answer to one request line; every refusal is an answer too."""
        try:
            return self._answer(line)
        except ConfideError as error:
            return {"error": type(error).__name__, "message": str(error)}

    def _one_line(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as stream:
            line = stream.readline(self._most + 1)
        connection.sendall(_line(self.answer(line)))


def ask(path: Path, request: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the agent, however long it takes, and return its answer.

    Raises:
        Unavailable: it does not answer.
        ConfideError: whatever it refuses with.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
            connection.sendall(_line(request))
            with connection.makefile("rb") as stream:
                line = stream.readline(MAX_MESSAGE_BYTES + 1)
        except OSError as error:
            raise Unavailable(f"the agent does not answer: {error.strerror}") from None
    if not line.endswith(b"\n"):
        raise Unavailable("the agent does not answer")
    answer: dict[str, Any] = json.loads(line)
    if "error" in answer:
        message = str(answer.get("message"))
        raise told(answer["error"], message) or ConfideError(message)
    return answer


def _peer_uid(connection: socket.socket) -> int:
    """Return the user id of who connected to a Unix socket."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"
