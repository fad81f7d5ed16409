"""The key under which the ranks of a distributed training seal what they send: how a program gets it, and no other.

The program reaches neither the agent nor keys of owners. A socket of its own, in a folder of its own, gives this key to
processes of the agent's user: no descriptor, which would have to survive how ranks are started, nor a variable or file.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from pathlib import Path

from confide.enclave.image import RUN
from confide.enclave.libos import inside_libos
from confide.enclave.line_socket import PAUSE_S, peer_uid
from confide.errors import Unavailable

KEY_BYTES = 32
FOLDER = f"{RUN}/group"
"""Where the program finds the socket."""
SOCKET = "key.sock"


class GroupKey:
    """Gives the key to whoever of this user asks, until `close`.

    Args:
        folder: for the socket; made here.
        key: 32 bytes.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        folder.mkdir(mode=0o700)
        self._key = key
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(folder / SOCKET))
        self._listener.listen(64)
        self._closed = False
        threading.Thread(target=self._accept, name="group-key", daemon=True).start()

    def close(self) -> None:
        """Stop answering."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # no more descriptors for now, or the end
                if self._closed:
                    return
                time.sleep(PAUSE_S)
                continue
            with connection, contextlib.suppress(OSError):
                if inside_libos() or peer_uid(connection) == os.getuid():
                    connection.sendall(self._key)  # fits any socket's buffer: nobody can keep this thread


def read_group_key(folder: Path = Path(FOLDER)) -> bytes | None:
    """Return the key of this workload; None where it has none.

    Raises:
        Unavailable: the agent does not answer.
    """
    path = folder / SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(str(path))
        except (FileNotFoundError, PermissionError):
            return None
        except OSError as error:
            raise Unavailable(f"the key of the group of ranks: {error}") from None
        key = b""
        while len(key) < KEY_BYTES and (part := connection.recv(KEY_BYTES - len(key))):
            key += part
    if len(key) != KEY_BYTES:
        raise Unavailable("the agent gave no key for the group of ranks")
    return key
