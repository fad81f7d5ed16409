"""What strangers may cost a broker: bounded heads, bodies, time, and large bodies at once."""

from __future__ import annotations

import socket
import ssl
import threading
import time

import httpx
import pytest

from confide.broker import acceptor, connection, http
from confide.broker.server import EmbeddedBroker

PUT_LISTING = "/confide/v1/owners/clinic/put-listing"


@pytest.fixture
def connect(broker):
    context = ssl.create_default_context(cadata=broker.ca_pem.decode())
    host, port = broker.url.removeprefix("https://").split(":")
    opened = []

    def make():
        raw = socket.create_connection((host, int(port)), timeout=20)
        opened.append(context.wrap_socket(raw, server_hostname=host))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def answer(stream):
    data = b""
    try:
        while chunk := stream.recv(65536):
            data += chunk
    except (ssl.SSLError, ConnectionError):
        pass  # cut off
    return data


def send(stream, data):
    try:
        stream.sendall(data)
    except OSError:
        pass  # cut off while still sending


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"a" * 400_000,
        b"GET / HTTP/1.1\r\nx: " + b"a" * 400_000,
        b"GET / HTTP/1.1\r\n" + b"x: a\r\n" * 70_000,
        b"GET / HTTP/1.1\r\n" + b"x" * 400_000,
    ],
    ids=["path", "value", "many", "name"],
)
def test_a_head_without_end(connect, head):
    stream = connect()
    send(stream, head)
    assert answer(stream).split(b"\r\n")[0] in (b"", b"HTTP/1.1 400 Bad Request")


def test_one_client_has_its_share_of_the_connections(connect, monkeypatch):
    monkeypatch.setattr(acceptor, "MAX_OF_ONE_CLIENT", 3)
    opened = [connect() for _ in range(3)]
    assert [asked(stream) for stream in opened] == [b"HTTP/1.1 200"] * 3
    for _ in range(2):
        with pytest.raises(OSError):
            connect()
    for stream in opened:
        stream.close()
    deadline = time.monotonic() + 20
    while not again(connect):  # as soon as the broker has seen that theirs are closed
        assert time.monotonic() < deadline


def test_connections_whose_handshake_never_ends_count_and_end(broker, connect, monkeypatch):
    monkeypatch.setattr(acceptor, "MAX_OF_ONE_CLIENT", 3)
    monkeypatch.setattr(acceptor, "HANDSHAKE_S", 2.0)
    host, port = broker.url.removeprefix("https://").split(":")
    begun = [socket.create_connection((host, int(port)), timeout=20) for _ in range(3)]
    with pytest.raises(OSError):
        connect()
    for stream in begun:
        assert answer(stream) == b""  # returns: the broker closes the connection
        stream.close()
    assert asked(connect()) == b"HTTP/1.1 200"


def asked(stream):
    send(stream, b"GET /confide/v1/jwks HTTP/1.1\r\nhost: x\r\n\r\n")
    return stream.recv(12)


def again(connect):
    try:
        return asked(connect())
    except OSError:
        return b""


@pytest.mark.parametrize("path", ["/kbs/v0/auth", "/confide/v1/jwks"])
def test_a_body_without_declared_length(connect, path):
    stream = connect()
    send(stream, f"POST {path} HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    assert answer(stream).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("length", [b"-1", b"1e3", b"9" * 30, b"5, 6"])
def test_a_length_that_is_none(connect, length):
    stream = connect()
    send(stream, b"POST /kbs/v0/auth HTTP/1.1\r\nhost: x\r\ncontent-length: " + length + b"\r\n\r\n{}")
    assert answer(stream).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"\r\n",
        b"POST /kbs/v0/auth HTTP/1.1\r\nhost:",
        b"POST /kbs/v0/auth HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
        b"GET /confide/v1/jwks HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
        b"GET /confide/v1/jwks HTTP/1.1\r\nhost: x\r\n\r\nGET /",
    ],
    ids=["nothing", "blank", "head", "body", "body nobody reads", "second request"],
)
def test_a_request_that_does_not_end(monkeypatch, connect, begun):
    monkeypatch.setattr(connection, "REQUEST_TIMEOUT_S", 0.3)
    stream = connect()
    send(stream, begun)
    answer(stream)  # returns: the broker closes the connection


def test_several_requests_of_one_connection(connect):
    stream = connect()
    for _ in range(3):
        send(stream, b"GET /confide/v1/jwks HTTP/1.1\r\nhost: x\r\n\r\n")
        assert stream.recv(65536).startswith(b"HTTP/1.1 200 OK")


def test_a_body_that_is_announced_and_awaited(connect):
    stream = connect()
    head = b"POST /kbs/v0/auth HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n"
    send(stream, head)
    assert stream.recv(65536).startswith(b"HTTP/1.1 100 Continue")
    send(stream, b"{}")
    assert stream.recv(65536).startswith(b"HTTP/1.1 400")


def test_large_bodies_at_once(monkeypatch, connect):
    monkeypatch.setattr(http, "LARGE_BODY_WAIT_S", 0.2)
    head = f"POST {PUT_LISTING} HTTP/1.1\r\nhost: x\r\ncontent-length: {2 * http.LARGE_BODY_BYTES}\r\n\r\n"
    held = [connect() for _ in range(http.LARGE_BODIES)]
    for stream in held:
        send(stream, head.encode())
        send(stream, b" " * 100_000)
    _until_waiting(connect, head)
    small = connect()
    send(small, f"POST {PUT_LISTING} HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{{}}".encode())
    assert b" 403 " in small.recv(65536).split(b"\r\n")[0] + b" "
    for stream in held:
        stream.close()
    for _ in range(100):
        stream = connect()
        send(stream, head.encode() + b" " * (2 * http.LARGE_BODY_BYTES))
        status = answer(stream).split(b"\r\n")[0]
        if b" 429 " not in status:
            break
    assert b" 400 " in status


def _until_waiting(connect, head):
    """Wait until all room is taken: then a further large body is refused without being read."""
    for _ in range(100):
        stream = connect()
        send(stream, head.encode())
        stream.settimeout(2)
        try:
            if b" 429 " in stream.recv(65536).split(b"\r\n")[0]:
                return
        except TimeoutError:
            stream.close()  # it got a place; give it back
    pytest.fail("every large body was let in")


def test_more_than_any_listing(connect):
    stream = connect()
    length = str(64 * 1024 * 1024)
    send(stream, f"POST {PUT_LISTING} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n".encode())
    assert answer(stream).startswith(b"HTTP/1.1 400 ")


def test_a_store_that_is_in_use_does_not_stop_other_requests(clinic):
    with EmbeddedBroker(clinic.store, allow_simulated=True) as broker:
        context = ssl.create_default_context(cadata=broker.ca_pem.decode())
        body = {"version": "0.1.1", "tee": "simulated", "extra-params": {}}
        with httpx.Client(base_url=broker.url, verify=context, trust_env=False) as client:
            client.post("/kbs/v0/auth", json=body)
            outcome = []

            def attest():
                with httpx.Client(base_url=broker.url, verify=context, trust_env=False) as other:
                    outcome.append(other.post("/kbs/v0/attest", json={}).status_code)

            with clinic.store.transaction():  # held by this thread: the attestation waits in another
                waiting = threading.Thread(target=attest)
                waiting.start()
                assert client.post("/kbs/v0/auth", json=body).status_code == 200
            waiting.join()
    assert outcome == [401]
