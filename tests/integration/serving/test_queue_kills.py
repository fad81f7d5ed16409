"""`confide serve --queue` as processes of their own; each kind of them is killed under load, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from confide.errors import Misuse, Unavailable
from confide.serving import Client
from confide.serving.client_transport import client_tls
from confide.serving.envelope import RequestContent, Target
from confide.serving.oip import read_reply, write_request
from confide.serving.redis_queue import STREAM
from confide.serving.sealed import HEADER_BYTES, MEDIA_TYPE, seal_fresh

from ... import models
from ...redis_server import redis_server
from .conftest import Owner

X = np.array([[1, 2, 3, 4]], np.float32)
PATH = "/v2/models/scale/infer"


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis") / "data") as server:
        yield server


@pytest.fixture(scope="module")
def accepted(owner):
    models.scale(owner.folder / "plain/scale.onnx")
    owner.ok("encrypt", "plain", "models/scale", "--as", "files", "--key", "clinic/models")
    owner.allow("models/scale", "--read", "models/scale", "--logs", "clinic/logs")
    return owner.accept("scale")


def front_end(owner: Owner, redis, address="127.0.0.1:0"):
    return owner.start("serve", "--front-end", *redis.options("front"), "--listen", address)


def workers(owner: Owner, redis, count=2):
    options = ("--no-front-end", "--workers", str(count), *redis.options("worker"))
    return owner.start("serve", "models/scale", *options)


def ca(owner):
    return (owner.folder / "home/front-end-ca.pem").read_bytes()


def enclaves(process):
    """Return the processes of the worker enclaves below a process."""
    parents, found = {}, []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            if b"confide.serving.entry" in (path / "cmdline").read_bytes():
                found.append(int(path.name))

    def below(pid):
        while pid > 1 and pid != process.pid:
            pid = parents.get(pid, 1)
        return pid == process.pid

    return [pid for pid in found if below(pid)]


def eventually(holds, seconds=120.0):
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.1)
    return found


def test_each_kind_of_process_is_killed_under_load_and_every_request_is_answered(owner, accepted, redis):
    pool, front = workers(owner, redis), front_end(owner, redis)
    answered, stop = [], threading.Event()

    def load(client, first):
        number = first
        while not stop.is_set():
            number += 1
            answer = client.infer("scale", {"x": X * number}, timeout_s=180.0).outputs["y"]
            answered.append(np.array_equal(answer, 2 * X * number))

    def more_answers():
        before = len(answered)
        eventually(lambda: len(answered) > before + 30)

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(4) as threads:
        clients = [
            stack.enter_context(Client(front.url, accepted, proxy_ca=ca(owner), ticket=n == 0))
            for n in range(2)
        ]
        running = [threads.submit(load, clients[n % 2], n * 100_000) for n in range(4)]
        try:
            more_answers()
            os.kill(enclaves(pool.process)[0], signal.SIGKILL)  # a worker; it is replaced
            more_answers()
            redis.kill()
            redis.start()
            more_answers()
            address = front.address
            front.process.kill()
            front.process.wait()
            front = front_end(owner, redis, address)
            more_answers()
            pool.process.kill()  # all workers and their relays
            pool.process.wait()
            pool = workers(owner, redis)
            more_answers()
        finally:
            stop.set()
        for each in running:
            each.result()
    assert all(answered)
    with redis.operator() as operator:
        eventually(lambda: operator.xlen(STREAM) == 0)
        assert operator.xpending(STREAM, "workers")["pending"] == 0
    assert (front.stop(), pool.stop()) == (0, 0)


@pytest.mark.slow
def test_what_is_in_the_queue_is_answered_though_everything_else_was_killed(owner, accepted, redis):
    """Nobody sends a request again here: what counts is what the queue holds."""
    pool, front = workers(owner, redis, count=1), front_end(owner, redis)
    with Client(front.url, accepted, proxy_ca=ca(owner)) as client:
        key = client.verify().key
    pool.process.kill()
    pool.process.wait()
    ends = int(time.time() * 1000) + 300_000
    asked = [
        seal_fresh(RequestContent(write_request({"x": X * n}, []), ends), Target("infer", "scale"), key)
        for n in range(50)
    ]

    def post(data):
        with (
            contextlib.suppress(httpx.HTTPError),
            httpx.Client(verify=client_tls(ca(owner)), timeout=60) as http,
        ):
            http.post(front.url + PATH, content=data, headers={"content-type": MEDIA_TYPE})

    with redis.operator() as operator, ThreadPoolExecutor(len(asked)) as threads:
        posting = [threads.submit(post, data) for data, _ in asked]
        eventually(lambda: operator.xlen(STREAM) == len(asked))
        front.process.kill()
        redis.kill()
        [each.result() for each in posting]
    redis.start()
    pool = workers(owner, redis)
    with redis.operator() as operator:
        names = [f"confide:request:{data[1:HEADER_BYTES].hex()}" for data, _ in asked]
        eventually(lambda: operator.xlen(STREAM) < len(asked))
        os.kill(enclaves(pool.process)[0], signal.SIGKILL)
        eventually(lambda: operator.xlen(STREAM) == 0)
        answers = [key.open(operator.hget(name, "body")) for name, (_, key) in zip(names, asked, strict=True)]
    assert [answer.status for answer in answers] == [200] * len(asked)
    for number, answer in enumerate(answers):
        assert np.array_equal(read_reply(answer.body)[2]["y"], 2 * X * number)
    assert pool.stop() == 0


def test_workers_and_front_end_in_one_command(owner, accepted, redis):
    both = owner.start("serve", "models/scale", "--workers", "2", *redis.options())
    with Client(both.url, accepted, proxy_ca=ca(owner)) as client:
        assert np.array_equal(client.infer("scale", {"x": X}).outputs["y"], 2 * X)
    assert both.stop() == 0


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        (["models/scale", "--workers", "2"], Misuse, "--queue"),
        (["--front-end"], Misuse, "--queue"),
        (["--queue", "rediss://localhost"], Misuse, "--front-end"),
        (["--queue", "rediss://localhost", "--no-front-end"], Misuse, "--front-end"),
        (["--queue", "redis://localhost", "--front-end"], Misuse, "rediss://"),
        (["models/scale", "--queue", "rediss://localhost", "--grpc-listen", "127.0.0.1:0"], Misuse, "gRPC"),
        (
            ["--queue", "rediss://localhost:1", "--front-end", "--listen", "127.0.0.1:0"],
            Unavailable,
            "localhost:1",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(owner, accepted, options, error, said):
    code, output = owner.run("serve", "--tee", "simulated", *options)
    assert code == error.exit_code, output
    assert said in output
