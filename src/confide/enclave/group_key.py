"""The key under which the ranks of a distributed training seal what they send: how a program gets it, and no other.

The program reaches neither the agent nor keys of owners. A socket of its own, in a folder of its own, gives this key to
processes of the agent's user: no descriptor, which would have to survive how ranks are started, nor a variable or file.
"""

from __future__ import annotations

import socket
from pathlib import Path

from confide.enclave.image import RUN
from confide.enclave.line_socket import Listener
from confide.errors import Unavailable

KEY_BYTES = 32
FOLDER = f"{RUN}/group"
"""Where the program finds the socket."""
SOCKET = "key.sock"


class GroupKey(Listener):
    """Gives the key to whoever of this user asks, until `close`.

    Args:
        folder: for the socket; made here.
        key: 32 bytes.
    """

    def __init__(self, folder: Path, key: bytes) -> None:
        folder.mkdir(mode=0o700)
        super().__init__(folder / SOCKET, lambda connection: connection.sendall(key))


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
