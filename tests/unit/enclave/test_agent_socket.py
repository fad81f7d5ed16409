from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from confide.broker.release import Access, Grant, Release
from confide.data.listing import Format, ListedFile, Listing
from confide.enclave.agent_socket import AgentSocket, JobCalls
from confide.errors import Conflict

GRANT = Grant(
    owner="clinic", location="out", access=Access.WRITE, format=Format.TABLE, key="clinic/k", table="0" * 32
)
RELEASE = Release(workload="study", owners=("clinic",), keys={}, grants=(GRANT,), expires=100)
FILE = {"path": "a.parquet", "size": 1, "binding": "0" * 64}


def _commit(location: str, table: str, base_serial: int, files: Any) -> tuple[Listing, dict[str, str]]:
    if base_serial != 4:
        raise Conflict("serial is 4")
    assert all(isinstance(file, ListedFile) for file in files)
    listing = Listing(
        table=table,
        owner="clinic",
        location=location,
        format=Format.TABLE,
        serial=5,
        key="clinic/k",
        files=tuple(files),
    )
    return listing, {"payload": "p"}


@pytest.fixture
def served() -> Iterator[tuple[Path, AgentSocket]]:
    with tempfile.TemporaryDirectory(prefix="cf-") as folder:  # short, as Unix sockets need it
        path = Path(folder, "agent.sock")
        agent = AgentSocket(path, RELEASE, "/work", "/scratch", {"gateway": {"pin": "x"}}, _commit)
        yield path, agent
        agent.close()


@pytest.fixture
def member() -> Iterator[tuple[Path, list[tuple[str, str]]]]:
    """The agent of a member of a job, and what it was told to announce."""
    announced: list[tuple[str, str]] = []
    now = RELEASE.model_copy(update={"expires": 200})
    job = JobCalls(lambda: now, lambda driver, application: announced.append((driver, application)))
    with tempfile.TemporaryDirectory(prefix="cf-") as folder:
        path = Path(folder, "agent.sock")
        agent = AgentSocket(path, RELEASE, "/work", "/scratch", {}, _commit, job)
        yield path, announced
        agent.close()


def _ask(path: Path, line: bytes) -> Any:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(line)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as stream:
            return json.loads(stream.readline())


def test_release(served: tuple[Path, AgentSocket]) -> None:
    answer = _ask(served[0], b'{"op":"release"}\n')
    assert Release.model_validate_json(json.dumps(answer["release"])) == RELEASE
    assert (answer["root"], answer["scratch"]) == ("/work", "/scratch")


def test_secret(served: tuple[Path, AgentSocket]) -> None:
    assert _ask(served[0], b'{"op":"secret","name":"gateway"}\n') == {"secret": {"pin": "x"}}


def test_commit(served: tuple[Path, AgentSocket]) -> None:
    request = {"op": "commit", "location": "out", "table": "0" * 32, "base_serial": 4, "files": [FILE]}
    answer = _ask(served[0], json.dumps(request).encode() + b"\n")
    assert answer["listing"]["serial"] == 5
    assert answer["jws"] == {"payload": "p"}


def test_refresh_gives_the_release_of_now(member: tuple[Path, list[tuple[str, str]]]) -> None:
    assert _ask(member[0], b'{"op":"refresh"}\n')["release"]["expires"] == 200
    assert _ask(member[0], b'{"op":"release"}\n')["release"]["expires"] == 100


@pytest.mark.parametrize("driver", ["127.0.0.1:7077", "node-3.example:1", "[::1]:65535"])
def test_announce(member: tuple[Path, list[tuple[str, str]]], driver: str) -> None:
    request = {"op": "announce", "driver": driver, "application": "spark-application-17"}
    assert _ask(member[0], json.dumps(request).encode() + b"\n") == {}
    assert member[1] == [(driver, "spark-application-17")]


@pytest.mark.parametrize(
    ("driver", "application"),
    [
        ("127.0.0.1", "a"),
        ("127.0.0.1:7077 --conf x", "a"),
        ("127.0.0.1:7077\n", "a"),
        ("user@host:1", "a"),
        ("127.0.0.1:7077", ""),
        ("127.0.0.1:7077", "a b"),
        ("127.0.0.1:7077", "a" * 129),
    ],
)
def test_what_is_not_announced(
    member: tuple[Path, list[tuple[str, str]]], driver: str, application: str
) -> None:
    request = {"op": "announce", "driver": driver, "application": application}
    assert _ask(member[0], json.dumps(request).encode() + b"\n")["error"] == "Misuse"
    assert not member[1]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"op": "refresh"}, "Misuse"),
        ({"op": "announce", "driver": "127.0.0.1:1", "application": "a"}, "Misuse"),
        ({"op": "secret", "name": "other"}, "UnknownKey"),
        ({"op": "commit", "location": "out", "table": "0" * 32, "base_serial": 3, "files": []}, "Conflict"),
        ({"op": "commit", "location": "out", "table": "0", "base_serial": 4, "files": []}, "Misuse"),
        ({"op": "commit", "location": "out", "table": "0" * 32, "base_serial": -1, "files": []}, "Misuse"),
        ({"op": "commit", "location": "out"}, "Misuse"),
        ({"op": "release", "more": 1}, "Misuse"),
        ({"op": "exec"}, "Misuse"),
        ({}, "Misuse"),
        ([], "Misuse"),
    ],
    ids=str,
)
def test_refusals_are_answers(served: tuple[Path, AgentSocket], request_: Any, error: str) -> None:
    assert _ask(served[0], json.dumps(request_).encode() + b"\n")["error"] == error


@pytest.mark.parametrize("line", [b"", b"\n", b"{", b'{"op":"release"}', b"\xff\n"])
def test_lines_that_are_no_requests(served: tuple[Path, AgentSocket], line: bytes) -> None:
    assert _ask(served[0], line)["error"] == "Misuse"


def test_socket_is_closed_to_others_and_gone_after_close(served: tuple[Path, AgentSocket]) -> None:
    path, agent = served
    assert path.stat().st_mode & 0o077 == 0
    agent.close()
    with pytest.raises(OSError), socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
