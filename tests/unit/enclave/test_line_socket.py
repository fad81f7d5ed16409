from __future__ import annotations

import contextlib
import errno
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from confide.enclave.line_socket import AT_ONCE, LineSocket, ask


@pytest.fixture
def path() -> Iterator[Path]:
    with (
        tempfile.TemporaryDirectory(prefix="cf-") as folder,  # short, as Unix sockets need it
        contextlib.closing(LineSocket(Path(folder, "s"), lambda line: {"bytes": len(line)}, 100)),
    ):
        yield Path(folder, "s")


def test_it_answers_on_after_the_system_had_no_more_descriptors(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept, failures = socket.socket.accept, [errno.EMFILE, errno.ENFILE, errno.ENOMEM]

    def scarce(self: socket.socket) -> object:
        found = accept(self)
        if failures:
            found[0].close()
            raise OSError(failures.pop(), "none left")
        return found

    monkeypatch.setattr(socket.socket, "accept", scarce)
    while failures:
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.settimeout(
                0.5
            )  # the first may be taken by a call that was under way, and be asked for its line
            client.connect(str(path))
            client.recv(1)
    assert ask(path, {}) == {"bytes": 3}


def test_connections_that_ask_nothing_keep_nobody_out_once_they_end(path: Path) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(2 * AT_ONCE):
            stack.enter_context(socket.socket(socket.AF_UNIX)).connect(str(path))
    assert ask(path, {}) == {"bytes": 3}


def test_no_more_of_a_line_is_read_than_a_request_has(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"x" * 1000)
        assert client.recv(100) == b'{"bytes":101}\n'
