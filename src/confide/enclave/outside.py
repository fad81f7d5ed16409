"""The way out of a sandbox without a network: to addresses that the owners granted, and to no other.

A Unix socket. A connection's first line names an address, one line answers, `{}` or as on the agent socket, and then
bytes pass both ways. They are TLS of whoever asked, who verifies the other end: here nothing is looked at or kept.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Collection, Iterable
from pathlib import Path

from confide.broker.locations import stream_addresses
from confide.broker.release import Grant
from confide.data.listing import Format
from confide.enclave.line_socket import Listener
from confide.errors import ConfideError, NoGrant, Unavailable

CONNECT_S = 10.0
SILENT_S = 60.0
"""After so long without a byte from outside a connection is closed."""
AT_ONCE = 1024
"""Connections: of a Kafka, one of each task to each broker, which last as long as the job."""
_MAX_LINE_BYTES = 512
_CHUNK_BYTES = 256 * 1024

Address = tuple[str, int]


def granted_addresses(grants: Iterable[Grant]) -> frozenset[Address]:
    """Return the addresses that lie in the locations of granted streams."""
    streams = (grant.location for grant in grants if grant.format is Format.STREAM)
    return frozenset(address for stream in streams for address in stream_addresses(stream))


class Outside(Listener):
    """Connects processes of this user to `addresses` until `close`.

    Args:
        path: of the socket; its folder must be this process's own and closed to others.
        addresses: host and port, as those who ask spell them.
    """

    def __init__(self, path: Path, addresses: Collection[Address]) -> None:
        self._addresses = addresses
        super().__init__(path, self._pass, AT_ONCE)

    def _pass(self, connection: socket.socket) -> None:
        try:
            far = self._connect(_line(connection))
        except ConfideError as error:
            told = {"error": type(error).__name__, "message": str(error)}
            connection.sendall(json.dumps(told).encode() + b"\n")
            return
        with far:
            far.settimeout(SILENT_S)
            connection.settimeout(None)
            connection.sendall(b"{}\n")
            back = threading.Thread(target=_copy, args=(far, connection), name="outside", daemon=True)
            back.start()
            _copy(connection, far)
            back.join()

    def _connect(self, asked: str) -> socket.socket:
        address = next((known for known in self._addresses if "{}:{}".format(*known) == asked), None)
        if address is None:
            raise NoGrant(f"no policy grants a stream at {asked!r}")
        try:
            return socket.create_connection(address, CONNECT_S)
        except OSError as error:
            raise Unavailable(f"{asked}: {error.strerror or error}") from None


def _line(connection: socket.socket) -> str:
    line = b""
    while not line.endswith(b"\n") and len(line) < _MAX_LINE_BYTES and (byte := connection.recv(1)):
        line += byte
    return line.decode("ascii", errors="replace").removesuffix("\n")


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until either end is done; then both are."""
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    with contextlib.suppress(OSError):
        while size := source.recv_into(buffer):
            target.sendall(buffer[:size])
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
