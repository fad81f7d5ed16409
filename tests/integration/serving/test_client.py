"""The client, against a worker in this process that lacks nothing but its enclave: TLS, evidence, tickets."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest

from confide import errors
from confide.broker import acceptor
from confide.broker.tls import load_chain
from confide.errors import ConfideError, Misuse
from confide.serving import Client, failures
from confide.serving.client_transport import _named, client_tls
from confide.serving.clients import new_token, token_sha256
from confide.serving.configuration import Configuration
from confide.serving.cost import Cost
from confide.serving.envelope import Target
from confide.serving.failures import NotKnown, Overloaded
from confide.serving.sealed import MEDIA_TYPE, seal_fresh

from ... import models
from ...unit.serving.worker import POOL, content
from .attested import ACCEPTED, Attested

X = np.array([[1, 2, 3, 4]], np.float32)


@pytest.fixture
def worker(tmp_path):
    models.scale(tmp_path / "models/scale.onnx")
    worker = Attested(tmp_path)
    with worker.served() as worker.url:
        yield worker


def ask(client):
    return client.infer("scale", {"x": X}).outputs["y"].tolist()


def in_a_fork(work):
    """Return what `work` returns in a forked process."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        said = b"failed"
        try:
            said = repr(work()).encode()
        finally:
            os.write(writer, said)
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said.decode()


def test_a_fork_connects_anew_and_asks_for_a_ticket_of_its_own(worker):
    with Client(worker.url, ACCEPTED, ticket=True) as client, ThreadPoolExecutor(1) as other:
        ask(client)
        mine, introduced = client._ticket.ticket, worker.introduced
        other.submit(client._lock.acquire).result()  # as a thread may have it that the fork has not
        theirs = in_a_fork(lambda: (ask(client), client._ticket.ticket))
        other.submit(client._lock.release).result()
        assert theirs.startswith("([[2.0, 4.0, 6.0, 8.0]], ")
        assert repr(mine) not in theirs
        assert worker.introduced == introduced + 1
        assert ask(client) == [[2, 4, 6, 8]]
        assert client._ticket.ticket == mine


def test_a_worker_with_another_authority_breaks_off_no_request(worker):
    model, gate, entered = worker.models.get("scale"), threading.Event(), threading.Event()
    run = model.runtime.run
    model.runtime.run = lambda inputs: (entered.set(), gate.wait(30), run(inputs))[2]
    model.batcher._cost = Cost(1.0, 1.0)  # known to be slow: runs in a thread
    with Client(worker.url, ACCEPTED) as client, ThreadPoolExecutor(1) as other:
        early = other.submit(ask, client)
        assert entered.wait(30)
        posted = []
        client._post, post = lambda *given: (posted.append(1), post(*given))[1], client._post
        worker.identity = worker.new_identity()
        load_chain(worker.tls, worker.identity.leaf(POOL, int(time.time())))
        client.verify()
        gate.set()
        assert early.result() == [[2, 4, 6, 8]]
        assert posted == []  # not sent again
        assert ask(client) == [[2, 4, 6, 8]]


@pytest.mark.parametrize("context", ["grün", "a\nb", " a", "a ", "\x7f"])
def test_contexts_that_no_header_carries(worker, context):
    with Client(worker.url, ACCEPTED) as client, pytest.raises(Misuse, match="context"):
        client.infer("scale", {"x": X}, context=context)


def test_a_context_with_its_request(worker):
    with Client(worker.url, ACCEPTED) as client:
        assert client.infer("scale", {"x": X}, context="ward 7").outputs["y"].tolist() == [[2, 4, 6, 8]]


def kinds(of):
    return [kind for kind in vars(of).values() if isinstance(kind, type) and issubclass(kind, ConfideError)]


@pytest.mark.parametrize("kind", [*kinds(errors), *kinds(failures)], ids=lambda kind: kind.__name__)
def test_every_kind_of_error_can_be_told(kind):
    told = _named(500, kind.__name__)
    assert type(told) is kind
    assert str(told)
    repr(vars(told))


@pytest.mark.parametrize("name", ["", "x", "Fault", "dataclass", "told", "annotations", "__name__"])
def test_what_is_no_kind_of_error_is_one_of_its_status(name):
    assert type(_named(429, name)) is failures.Overloaded
    assert _named(429, name).retry_after_s == 1.0


def test_a_ticket_that_is_used_up_is_followed_by_another(worker):
    with Client(worker.url, ACCEPTED, ticket=True) as client:
        ask(client)
        first = client._ticket
        object.__setattr__(first.session, "expires", 0)
        assert ask(client) == [[2, 4, 6, 8]]
        assert client._ticket.ticket != first.ticket


def test_who_does_not_take_an_answer_is_cut_off_and_its_bytes_are_forgotten(worker, monkeypatch):
    """They count until then: more than a share of them is refused, as is an answer that is larger by itself."""
    monkeypatch.setattr(acceptor, "TAKE_S", 3.0)
    runtime, mib = worker.models.get("scale").runtime, 1024 * 1024
    size = 30 * mib
    runtime.run = lambda inputs: [np.zeros((size // 16, 4), np.float32)]
    with Client(worker.url, ACCEPTED) as client, contextlib.ExitStack() as stack:
        assert ask(client) == [[0, 0, 0, 0]] * (size // 16)
        sealed, _ = seal_fresh(content(X[0]), Target("infer", "scale"), client.verify().key)
        head = f"POST /v2/models/scale/infer HTTP/1.1\r\nhost: x\r\ncontent-type: {MEDIA_TYPE}\r\n"
        for _ in range(2):
            slow = stack.enter_context(
                client_tls(client.verify().authority_pem).wrap_socket(
                    socket.create_connection(urlsplit(worker.url).netloc.split(":"), timeout=20),
                    server_hostname="127.0.0.1",
                )
            )
            slow.sendall(f"{head}content-length: {len(sealed)}\r\n\r\n".encode() + sealed)
            sealed, _ = seal_fresh(content(X[0]), Target("infer", "scale"), client.verify().key)
        eventually(lambda: worker.admission._pending._all > 2 * size)
        with pytest.raises(Overloaded):
            client.infer("scale", {"x": X}, timeout_s=0.5)
        eventually(lambda: worker.admission._pending._all == 0)
        assert ask(client) == [[0, 0, 0, 0]] * (size // 16)
        size = 65 * mib
        with pytest.raises(Overloaded):
            client.infer("scale", {"x": X}, timeout_s=0.5)


@pytest.mark.parametrize("ticket", [False, True])
def test_a_client_that_is_known_by_its_token(tmp_path, ticket):
    models.scale(tmp_path / "models/scale.onnx")
    token = new_token()
    named = {"ward": {"token_sha256": [token_sha256(token)]}}
    with Attested(tmp_path, Configuration(client=named)).served() as url:
        with Client(url, ACCEPTED, token=token, ticket=ticket) as client:
            assert ask(client) == [[2, 4, 6, 8]]
            assert client.metadata("scale")["name"] == "scale"
        for other in ("", new_token()):
            with Client(url, ACCEPTED, token=other, ticket=ticket) as client, pytest.raises(NotKnown):
                ask(client)
    with pytest.raises(Misuse, match="64 hex digits"):
        Client(url, ACCEPTED, token=token + "\n")


def eventually(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.02)
