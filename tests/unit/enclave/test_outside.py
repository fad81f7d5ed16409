"""The way out of a sandbox: to granted addresses alone, and both ways."""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from confide.broker.release import Grant
from confide.enclave import outside
from confide.enclave.outside import Outside, granted_addresses


@pytest.fixture
def far() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def way(far: socket.socket) -> Iterator[Path]:
    with (
        tempfile.TemporaryDirectory(prefix="cf-") as folder,  # short, as Unix sockets need it
        contextlib.closing(
            Outside(Path(folder, "s"), {("127.0.0.1", far.getsockname()[1]), ("127.0.0.1", 1)})
        ),
    ):
        yield Path(folder, "s")


def asked(way: Path, line: str) -> tuple[socket.socket, dict[str, str]]:
    """Return a connection after its first line, and the answer to that."""
    near = socket.socket(socket.AF_UNIX)
    near.settimeout(30)
    near.connect(str(way))
    near.sendall(line.encode() + b"\n")
    answer = b""
    while not answer.endswith(b"\n") and (byte := near.recv(1)):
        answer += byte
    return near, json.loads(answer)


def test_bytes_pass_both_ways_until_one_end_is_done(way: Path, far: socket.socket) -> None:
    near, answer = asked(way, f"127.0.0.1:{far.getsockname()[1]}")
    with near, far.accept()[0] as other:
        assert answer == {}
        near.settimeout(None)
        sent = bytes(range(256)) * 8192
        threading.Thread(target=near.sendall, args=(sent,)).start()
        assert other.recv(len(sent), socket.MSG_WAITALL) == sent
        threading.Thread(target=other.sendall, args=(sent,)).start()
        assert near.recv(len(sent), socket.MSG_WAITALL) == sent
        other.close()
        assert near.recv(1) == b""


@pytest.mark.parametrize(
    "line", ["127.0.0.1:2", "localhost:1", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:01", ":", "", "é:1"]
)
def test_other_addresses_are_refused(way: Path, line: str) -> None:
    near, answer = asked(way, line)
    with near:
        assert answer["error"] == "NoGrant"
        assert near.recv(1) == b""


def test_no_more_of_a_line_is_read_than_an_address_has(way: Path) -> None:
    near, answer = asked(way, "x" * 511)
    with near:
        assert answer["error"] == "NoGrant"


def test_who_is_not_there_is_told(way: Path) -> None:
    near, answer = asked(way, "127.0.0.1:1")
    with near:
        assert answer["error"] == "Unavailable"


def test_a_silent_connection_ends(way: Path, far: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outside, "SILENT_S", 0.1)
    near, _ = asked(way, f"127.0.0.1:{far.getsockname()[1]}")
    with near, far.accept()[0]:
        assert near.recv(1) == b""


def test_only_streams_have_addresses() -> None:
    def grant(location: str, kind: str) -> Grant:
        return Grant.model_validate(
            {"owner": "a", "location": location, "access": "write", "format": kind, "key": "a/b"}
        )

    grants = [grant("rediss://a.example:6380/x", "stream"), grant("rediss://b.example:6380/x", "files")]
    assert granted_addresses(grants) == {("a.example", 6380)}
    grants = [grant("kafka://b.example:9093,c.example:9093/x", "stream")]
    assert granted_addresses(grants) == {("b.example", 9093), ("c.example", 9093)}
