"""What the Redis client of Flink's streams takes from a server, and which errors a stream's source tries again."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from confide import errors

SOURCES = Path(__file__).parents[3] / "jvm/src/confide"
ENTRY = b"*2\r\n$3\r\n1-1\r\n*2\r\n$6\r\nrecord\r\n$3\r\nabc\r\n"
READ = b"*1\r\n*2\r\n$6\r\npulses\r\n*1\r\n" + ENTRY


@pytest.fixture(scope="module")
def classes(tmp_path_factory) -> Path:
    if shutil.which("javac") is None:
        pytest.skip("needs a JDK")
    folder = tmp_path_factory.mktemp("classes")
    client = [SOURCES / "flink/redis/Redis.java", SOURCES / "flink/redis/Deadline.java"]
    sources = [SOURCES / "ConfideException.java", *client, Path(__file__).with_name("Asks.java")]
    subprocess.run(["javac", "--release", "17", "-d", folder, *sources], check=True, timeout=120)
    return folder


def ask(classes: Path, answer: Iterable[bytes], seconds: int = 60) -> str:
    """Return what the client says of a server that answers so."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError), server.accept()[0] as connection:
                connection.recv(4096)
                for part in answer:
                    connection.sendall(part)
                connection.recv(4096)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        argv = ["java", "-Xmx512m", "-cp", classes, "confide.flink.redis.Asks"]
        words = [*map(str, argv), str(server.getsockname()[1]), str(seconds)]
        said = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout.strip()
        thread.join(60)
        return said


def slowly() -> Iterable[bytes]:
    yield b"$1000\r\n"
    for _ in range(1000):
        time.sleep(0.1)
        yield b"x"


def test_what_xread_gives_is_taken(classes):
    assert ask(classes, [READ]) == "answered true"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([b"*4096\r\n", *[b"*4096\r\n" + b"*0\r\n" * 4096] * 1024], id="millions of empty lists"),
        pytest.param([b"*4096\r\n", *[b"*4096\r\n" + b"$-1\r\n" * 4096] * 1024], id="millions of nothings"),
        pytest.param([b"*1\r\n" * 5 + b"*0\r\n"], id="deeper than any answer"),
        pytest.param([b"*4097\r\n"], id="a longer list"),
        pytest.param([b"$1048577\r\n"], id="a longer text"),
        pytest.param([b"+" + b"x" * 5000], id="a line without end"),
        pytest.param([b"?\r\n"], id="no protocol"),
    ],
)
def test_more_than_was_asked_for_is_refused(classes, answer):
    assert ask(classes, answer).startswith("InvalidFormat: the server does not speak Redis's protocol")


def test_a_server_that_drips_is_left(classes):
    assert ask(classes, slowly(), seconds=1) == "Redis took more than 1 s to answer"


def test_what_is_tried_again_is_what_may_be_there_later():
    source = (SOURCES / "flink/Refusals.java").read_text()
    found = re.search(r"PASSING = Set\.of\((.*?)\);", source, re.DOTALL)
    assert found is not None
    passing = {
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.Unavailable)
    }
    assert set(re.findall(r'"(\w+)"', found[1])) == passing - {
        errors.MissingDependency.__name__,
        errors.BrokerUntrusted.__name__,
    }
