"""Sealed requests over a real Redis: what is lost, swapped, sent twice, too much, too late, or ends its worker."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
import redis

from confide.broker.ca import CertificateAuthority
from confide.errors import Misuse, Tampered
from confide.serving import Client, InputQueue, OutputQueue, redis_link
from confide.serving.client_transport import client_tls
from confide.serving.configuration import Configuration
from confide.serving.envelope import Target
from confide.serving.failures import InvalidRequest, NotKnown, Overloaded, Unreachable
from confide.serving.frames import RequestHead
from confide.serving.front_end_server import GivenCertificate
from confide.serving.queue_entries import Answered, Asked
from confide.serving.redis_link import RedisLink, check
from confide.serving.redis_queue import (
    KEPT_MS,
    MAX_DELIVERIES,
    READY,
    READY_MS,
    STREAM,
    TAKEN_BYTES,
    WAITING,
    RedisQueue,
)
from confide.serving.sealed import HEADER_BYTES, MEDIA_TYPE, seal_fresh
from confide.serving.waiting import Waiting

from ... import models
from ...redis_server import FRONT_END, WORKER, redis_server
from ...unit.serving.worker import POOL, content
from .attested import ACCEPTED, Attested
from .over_queue import front_end, relay

CANARY = 7391.25
X = np.array([[1, 2, 3, CANARY]], np.float32)
INFER = Target("infer", "scale")
PATH = "/v2/models/scale/infer"
KEY = POOL.public[-1]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis") / "data") as server:
        yield server


@pytest.fixture
def store(server):
    """The Redis, emptied, as its operator sees it."""
    with server.operator() as operator:
        operator.flushall()
        yield operator


@pytest.fixture
def worker(tmp_path):
    models.scale(tmp_path / "models/scale.onnx")
    models.lookup(tmp_path / "models/lookup.onnx")
    worker = Attested(tmp_path)
    with worker.served() as worker.url:
        yield worker


@pytest.fixture
def front(server, store, tmp_path):
    with front_end(server.link("front"), tmp_path / "front") as front:
        yield front


class Raw:
    """A client that sends bytes as it likes."""

    def __init__(self, front):
        self.http = httpx.Client(verify=client_tls(front.ca), base_url=front.url, trust_env=False, timeout=60)

    def __call__(self, data, path=PATH, **headers):
        return self.http.post(path, content=data, headers={"content-type": MEDIA_TYPE, **headers})


def sealed(row=X[0], timeout_s=30.0):
    return seal_fresh(content(row, timeout_s=timeout_s), INFER, KEY)


def ask(client, x=X, **more):
    return client.infer("scale", {"x": x}, **more).outputs["y"]


def eventually(holds, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.02)
    return found


def runs(worker):
    """Return a list that grows by the inputs of each run of the model."""
    seen, model = [], worker.models.get("scale")
    run = model.runtime.run
    model.runtime.run = lambda inputs: (seen.append(inputs["x"].copy()), run(inputs))[1]
    return seen


def test_requests_are_answered_and_the_store_sees_ciphertext(server, store, front, worker):
    with relay(worker.url, server.link("worker")), Client(front.url, ACCEPTED, proxy_ca=front.ca) as client:
        assert np.array_equal(ask(client), 2 * X)
        assert client.metadata("scale")["inputs"][0]["name"] == "x"
        with pytest.raises(InvalidRequest, match="'x'"):
            ask(client, X[:, :3])
        with Client(front.url, ACCEPTED, proxy_ca=front.ca, ticket=True, padded=True) as other:
            for _ in range(20):
                assert np.array_equal(ask(other, context="ward 7"), 2 * X)
    assert store.xlen(STREAM) == 0
    number = np.float32(CANARY).tobytes()

    def written():
        return b"".join(path.read_bytes() for path in (server.folder / "appendonlydir").iterdir())

    assert PATH.encode() in written()
    assert number not in written()
    assert b"shape" not in written()
    store.set("control", number + b"shape")
    assert number in written()  # the control must leak
    assert all(0 < store.pttl(key) <= KEPT_MS for key in store.keys("confide:request:*"))


def test_many_at_once(server, store, front, worker):
    with (
        relay(worker.url, server.link()),
        relay(worker.url, server.link()),
        Client(front.url, ACCEPTED, proxy_ca=front.ca) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        answers = list(pool.map(lambda n: ask(client, X * n), range(300)))
    assert all(np.array_equal(answer, 2 * X * n) for n, answer in enumerate(answers))


def test_requests_in_clear_do_not_get_into_the_queue(store, front):
    with httpx.Client(verify=client_tls(front.ca), base_url=front.url, trust_env=False) as http:
        for answer in (http.post(PATH, content=b"{}"), http.post(PATH, json={"inputs": []})):
            assert (answer.status_code, answer.headers["confide-error"]) == (403, "NotTaken")
        assert http.get("/v2/models/scale").status_code == 404
        assert http.post("/confide/v1/serving/batch", content=b"").status_code == 404
        assert Raw(front)(b"\1" * (HEADER_BYTES - 1)).status_code == 400
        assert http.get("/v2/health/live").status_code == 200
        assert http.get("/v2/health/ready").status_code == 503
        assert b"confide_queue_requests 0.0" in http.get("/metrics").content
    assert store.xlen(STREAM) == 0


def test_the_same_request_is_answered_once_whoever_is_asked(server, store, front, worker, tmp_path):
    seen = runs(worker)
    data, key = sealed()
    with relay(worker.url, server.link()), front_end(server.link(), tmp_path / "other") as other:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: Raw((front, other)[n % 2])(data).content, range(8)))
        with relay(worker.url, server.link()):
            answers.append(Raw(other)(data).content)
        assert len(set(answers)) == 1
        assert len(seen) == 1
        assert key.open(answers[0]).status == 200
        another = Raw(front)(data[:HEADER_BYTES] + sealed()[0][HEADER_BYTES:])
        assert another.headers["confide-error"] == "Duplicate"
        assert len(seen) == 1


def test_what_is_too_much_is_told_and_nothing_is_trimmed(server, store, worker, tmp_path):
    with (
        front_end(server.link(), tmp_path / "narrow", max_waiting=3) as narrow,
        ThreadPoolExecutor(3) as pool,
    ):
        waiting = [pool.submit(Raw(narrow), sealed()[0]) for _ in range(3)]
        eventually(lambda: store.xlen(STREAM) == 3)
        refused = Raw(narrow)(sealed()[0])
        assert (refused.status_code, refused.headers["confide-error"]) == (429, "Overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        with relay(worker.url, server.link()):
            assert [each.result().status_code for each in waiting] == [200] * 3
            assert Raw(narrow)(sealed()[0]).status_code == 200


def test_a_full_store_says_so_and_forgets_nothing(server, store, front, worker):
    with relay(worker.url, server.link()):
        data, _ = sealed()
        before = Raw(front)(data).content
        used = store.info("memory")["used_memory"]
        try:
            for most in (
                used // 2,
                int(used * 1.1),
            ):  # it refuses to write; it could, but keeps that for answers
                store.config_set("maxmemory", most)
                eventually(lambda: Raw(front)(sealed()[0]).headers.get("confide-error") == "Overloaded")
                assert Raw(front)(data).content == before
        finally:
            store.config_set("maxmemory", 0)
        eventually(lambda: Raw(front)(sealed()[0]).status_code == 200)


def test_a_request_whose_time_is_over_is_not_run(server, store, front, worker):
    seen = runs(worker)
    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(Raw(front), sealed(timeout_s=0.2)[0])
        eventually(lambda: store.xlen(STREAM) == 1)
        time.sleep(0.3)
        with relay(worker.url, server.link()):
            assert (late.result().status_code, late.result().headers["confide-error"]) == (504, "Expired")
    assert seen == []


def test_answers_that_were_swapped_or_changed_are_found_out(server, store, front, worker):
    with relay(worker.url, server.link()):
        one, two = sealed(), sealed(2 * X[0])
        answers = [Raw(front)(data).content for data, _ in (one, two)]
        names = [f"confide:request:{data[1:HEADER_BYTES].hex()}" for data, _ in (one, two)]
        assert store.hget(names[0], "body") == answers[0]
        store.hset(names[0], "body", answers[1])  # the other request's
        with pytest.raises(Tampered):
            one[1].open(Raw(front)(one[0]).content)
        store.hset(names[0], "body", answers[0][:-1] + bytes([answers[0][-1] ^ 1]))
        with pytest.raises(Tampered):
            one[1].open(Raw(front)(one[0]).content)
        for head in (
            b"",
            b"[]",
            b'{"status": 99}',
            b'{"status": 200, "headers": {"retry-after": "1\\r\\nx: y"}}',
        ):
            store.hset(names[0], "head", head or b"\0")
            assert Raw(front)(one[0]).headers["confide-error"] == "Unreachable"
        old = Client(front.url, ACCEPTED, proxy_ca=front.ca)
        real, _post = old._post, answers[1]
        old._post = lambda *given: (real(*given), _post)[1]  # an old answer in place of this one
        with pytest.raises(Tampered):
            ask(old)


def swapped_path(fields):
    return fields | {b"head": fields[b"head"].replace(b"scale", b"lookup")}


def other_context(fields):
    head = RequestHead.decode(fields[b"head"])
    return fields | {
        b"head": RequestHead("POST", PATH, "", {**head.headers, "confide-context": "other"}).encode()
    }


def flipped(fields):
    body = fields[b"body"]
    return fields | {b"body": body[:-1] + bytes([body[-1] ^ 1])}


@pytest.mark.parametrize("change", [swapped_path, other_context, flipped])
def test_requests_that_were_changed_are_not_answered(server, store, front, worker, change):
    seen = runs(worker)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(Raw(front), sealed()[0])
        ((name, fields),) = eventually(lambda: store.xrange(STREAM))
        store.xadd(STREAM, change(fields))
        store.xdel(STREAM, name)
        with relay(worker.url, server.link()):
            assert asked.result().headers["confide-error"] == "Tampered"
    assert seen == []


@pytest.mark.parametrize("head", [b"", b"{", b"[]", b'{"path": 7}', b'{"headers": {"a": 1}}', b"[" * 20_000])
def test_what_is_no_request_stops_no_batch(server, store, front, worker, head):
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(Raw(front), sealed()[0])
        eventually(lambda: store.xlen(STREAM) == 1)
        store.xadd(STREAM, {"head": head})
        store.xadd(STREAM, {"id": "ab" * 33, "head": head, "body": b"x"})
        store.xadd(STREAM, {"x": "y"})
        after = pool.submit(Raw(front), sealed()[0])
        with relay(worker.url, server.link()):
            assert asked.result().status_code == after.result().status_code == 200
            eventually(lambda: store.xlen(STREAM) == 0)
    assert store.xpending(STREAM, "workers")["pending"] == 0


def test_a_record_that_is_none_stops_neither_answers_nor_requests(server, store, front, worker):
    with ThreadPoolExecutor(4) as pool:
        (one, _), (two, _) = sealed(), sealed()
        names = [f"confide:request:{data[1:HEADER_BYTES].hex()}" for data in (one, two)]
        asked = pool.submit(Raw(front), one)
        eventually(lambda: store.xlen(STREAM) == 1)
        others = [pool.submit(Raw(front), sealed()[0]) for _ in range(3)]
        eventually(lambda: store.xlen(STREAM) == 4)
        store.delete(names[0])
        for name in names:
            store.set(name, "x")
        assert Raw(front)(two).headers["confide-error"] == "Unreachable"
        with relay(worker.url, server.link("worker")):
            eventually(lambda: store.xlen(STREAM) == 0)
            store.delete(names[0])
            assert [each.result().status_code for each in (*others, asked)] == [200] * 4


def test_a_request_that_the_store_lost_is_put_in_again(server, store, front, worker):
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(Raw(front), sealed()[0])
        eventually(lambda: store.xlen(STREAM) == 1)
        store.flushall()
        eventually(lambda: store.xlen(STREAM) == 1)
        with relay(worker.url, server.link()):
            assert asked.result().status_code == 200
            store.flushall()  # the group, too
            assert Raw(front)(sealed()[0]).status_code == 200


def test_a_replayed_request_is_answered_as_before(server, store, front, worker, tmp_path):
    data, _ = sealed()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(Raw(front), data)
        ((_, fields),) = eventually(lambda: store.xrange(STREAM))
        with relay(worker.url, server.link()):
            before = asked.result().content
    with Attested(tmp_path).served() as other, relay(other, server.link()):  # it does not remember
        store.xadd(STREAM, fields)
        eventually(lambda: store.xlen(STREAM) == 0)
        assert Raw(front)(data).content == before


class Ending:
    """An application that ends as a worker does that is killed, when one of its batches holds certain bytes."""

    def __init__(self, application, poison):
        self._application, self.poison, self.ended, self.beside = application, poison, 0, []

    async def __call__(self, scope, receive, send):
        message = await receive()
        if self.poison in message.get("body", b""):
            self.ended += 1
            self.beside.append(message["body"].count(MEDIA_TYPE.encode()))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            raise RuntimeError
        waiting = [message]

        async def again():
            return waiting.pop() if waiting else await receive()

        await self._application(scope, again, send)


def test_a_request_that_ends_its_workers_is_given_up_and_the_others_are_answered(
    server, store, front, worker
):
    poison, _ = sealed()
    worker.app = worker.server.config.app = worker.server.config.loaded_app = Ending(worker.app, poison)
    with ThreadPoolExecutor(9) as pool:
        asked = [pool.submit(Raw(front), data) for data in [poison, *(sealed()[0] for _ in range(8))]]
        eventually(lambda: store.xlen(STREAM) == 9)
        with relay(worker.url, server.link(), idle_s=0.3):
            given_up, *others = [each.result() for each in asked]
            assert [each.status_code for each in others] == [200] * 8
            assert (given_up.status_code, given_up.headers["confide-error"]) == (500, "Abandoned")
            assert worker.app.ended == MAX_DELIVERIES
            assert worker.app.beside[2:] == [1] * (MAX_DELIVERIES - 2)  # then it is tried alone
            assert Raw(front)(poison).headers["confide-error"] == "Abandoned"
            assert worker.app.ended == MAX_DELIVERIES
    assert store.xlen(STREAM) == 0


def test_a_worker_that_does_not_answer_costs_no_request_a_try(server, store, front, tmp_path):
    models.scale(tmp_path / "models/scale.onnx")
    worker = Attested(tmp_path)
    with ThreadPoolExecutor(1) as pool, contextlib.ExitStack() as stack:
        with worker.served() as url:
            running = stack.enter_context(relay(url, server.link(), idle_s=0.2))
            eventually(running._up.is_set)
        eventually(lambda: not running._up.is_set())
        asked = pool.submit(Raw(front), sealed()[0])
        eventually(lambda: store.xlen(STREAM) == 1)
        time.sleep(3)
        with Attested(tmp_path).served() as other, relay(other, server.link(), idle_s=0.2):
            assert asked.result().status_code == 200


def test_strangers_that_look_ask_the_store_nothing(server, store, front):
    store.config_resetstat()
    with httpx.Client(verify=client_tls(front.ca), base_url=front.url, trust_env=False) as http:
        for _ in range(50):
            assert http.get("/v2/health/ready").status_code == 503
            assert http.get("/metrics").status_code == 200
        asked = store.info("commandstats")
        assert all(asked.get(f"cmdstat_{name}", {"calls": 0})["calls"] < 50 for name in ("exists", "xlen"))
        store.set(READY, "1", px=READY_MS)
        store.xadd(STREAM, {"x": "y"})
        eventually(lambda: http.get("/v2/health/ready").status_code == 200)
        eventually(lambda: b"confide_queue_requests 1.0" in http.get("/metrics").content)


def test_where_it_is_not_known_whether_there_is_room_there_is_none(server, store, front, worker):
    with relay(worker.url, server.link()):
        data, _ = sealed()
        before = Raw(front)(data).content
        store.acl_setuser("front", commands=["-info"], enabled=True)
        try:
            eventually(lambda: Raw(front)(sealed()[0]).headers.get("confide-error") == "Overloaded")
            assert Raw(front)(data).content == before
        finally:
            store.acl_setuser("front", commands=["+info"], enabled=True)
        eventually(lambda: Raw(front)(sealed()[0]).status_code == 200)


def test_what_nobody_waits_for_is_not_kept_and_not_put_in(server, store):
    async def body():
        async with server.link("front").connect() as redis:
            waiting = Waiting(redis, RedisQueue(redis))
            first, second = (Asked.sealed(INFER, b"{}", sealed()[0]) for _ in range(2))
            gone = [asyncio.ensure_future(waiting.answer(first)) for _ in range(2)]
            stays = asyncio.ensure_future(waiting.answer(second))
            await asyncio.sleep(0)
            for each in gone:
                each.cancel()
            await asyncio.gather(*gone, return_exceptions=True)
            running = asyncio.ensure_future(waiting.run())
            while not await asyncio.to_thread(store.xlen, STREAM):
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
            for each in (running, stays):
                each.cancel()
            await asyncio.gather(running, stays, return_exceptions=True)
            return second.id

    stays = asyncio.run(body())
    assert [fields[b"id"] for _, fields in store.xrange(STREAM)] == [stays]


def test_a_request_has_a_bounded_size(store, front):
    assert Raw(front)(bytes(16 * 1024 * 1024 + 1)).headers["confide-error"] == "TooLarge"
    assert store.xlen(STREAM) == 0


def test_the_queue_is_bounded_in_bytes_though_its_clients_have_gone(server, store):
    asked = [Asked.sealed(INFER, b"{}", sealed()[0]) for _ in range(4)]
    each = len(asked[0].head) + len(asked[0].body)

    async def test(queue):
        queue = RedisQueue(queue._redis, "here", max_bytes=3 * each)
        for _ in range(2):  # what was answered, or deleted, makes room, once
            found = await queue.submit(asked)
            assert found[:3] == [None] * 3
            assert isinstance(found[3], Overloaded)
            first, *more = await queue.take(64, 10)
            for _ in range(2):
                await queue.answer([(first, Answered(b"{}", b""))])
            assert [type(one) for one in await queue.submit(asked)] == [Answered, *[type(None)] * 3]
            store.delete(f"confide:request:{first.id.decode()}")
            assert isinstance((await queue.submit(asked))[0], Overloaded)
            for entry in (*more, *more, *await queue.take(64, 10)):
                await queue.discard(entry)
            assert (await queue.length(), store.hget(WAITING, "bytes")) == (0, b"0")
            store.flushall()
            await queue.create()
        store.hset(WAITING, "bytes", 2**40)  # of a stream that was lost
        assert await queue.submit(asked[:3]) == [None] * 3

    queue_test(server, test, "pool")


def queue_test(server, test, user="worker"):
    """Run a test of the queue itself, as one relay has it."""

    async def body():
        async with server.link(user).connect() as redis:
            queue = RedisQueue(redis, "here")
            await queue.create()
            await test(queue)

    asyncio.run(body())


def test_no_more_is_read_at_once_than_is_wanted(server, store):
    size = 5 * 1024 * 1024
    for number in range(10):
        store.xadd(STREAM, {"id": f"{number:032x}", "head": b"{}", "body": bytes(size)})
    store.xadd(STREAM, {"id": "ab" * 16, "head": b"{}", "body": b"small"})

    async def test(queue):
        taken = []
        while some := await queue.take(64, 10):
            assert sum(len(each.body) for each in some) < TAKEN_BYTES + size
            taken += some
        assert [int(each.id, 16) for each in taken[:10]] == list(range(10))
        assert (len(taken), taken[-1].body) == (11, b"small")
        names = [each.entry for each in taken]
        store.xclaim(STREAM, "workers", "here", 0, names, idle=120_000, justid=True)
        over = []
        while some := await RedisQueue(queue._redis, "there").take_over(60_000, 64):
            assert sum(len(each.body) for each in some) < TAKEN_BYTES + size
            over += some
        assert [each.entry for each in over] == names

    queue_test(server, test)


def test_what_is_taken_over_counts_as_tried_when_a_worker_gets_it(server, store):
    store.xadd(STREAM, {"id": "ab" * 16, "head": b"{}", "body": b"x"})

    def delivered():
        return store.xpending_range(STREAM, "workers", "-", "+", 1)[0]["times_delivered"]

    async def test(queue):
        await queue.take(64, 10)
        for _ in range(7):  # each relay ended before its worker was asked
            (over,) = await queue.take_over(0, 64)
        assert (over.deliveries, delivered()) == (2, 1)
        await queue.count([over])
        await queue.count([over])
        assert delivered() == 2
        assert [each.deliveries for each in await queue.take_over(0, 64)] == [3]
        store.delete(STREAM)
        await queue.create()
        assert await queue.take_over(0, 64) == []

    queue_test(server, test)


def test_a_slow_answer_is_waited_for_and_made_once(server, store, front, worker):
    gate, model = threading.Event(), worker.models.get("scale")
    run, seen = model.runtime.run, []
    model.runtime.run = lambda inputs: (seen.append(1), gate.wait(30), run(inputs))[2]
    model.batcher._cost = type(model.batcher._cost)(1.0, 1.0)  # known to be slow: runs in a thread
    with relay(worker.url, server.link(), idle_s=0.4), relay(worker.url, server.link(), idle_s=0.4):
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(Raw(front), sealed()[0])
            eventually(lambda: seen)
            time.sleep(2)
            assert store.xpending_range(STREAM, "workers", "-", "+", 5)[0]["times_delivered"] == 1
            gate.set()
            assert asked.result().status_code == 200
    assert seen == [1]


def test_what_a_worker_has_that_hangs_is_answered_by_another(server, store, front, worker, tmp_path):
    gate, entered, model = threading.Event(), threading.Event(), worker.models.get("scale")
    run = model.runtime.run
    model.runtime.run = lambda inputs: (entered.set(), gate.wait(60), run(inputs))[2]
    model.batcher._cost = type(model.batcher._cost)(0.0, 0.0)  # known to be quick: it holds up the event loop
    with ThreadPoolExecutor(1) as pool, relay(worker.url, server.link(), idle_s=0.5):
        data, key = sealed()
        asked = pool.submit(Raw(front), data)
        assert entered.wait(30)
        try:
            with Attested(tmp_path).served() as other, relay(other, server.link(), idle_s=0.5):
                answer = asked.result()
        finally:
            gate.set()
        eventually(lambda: store.xlen(STREAM) == 0)
        assert key.open(answer.content).status == 200
        assert Raw(front)(data).content == answer.content  # the first answer stands


def test_clients_that_are_not_known_are_refused_through_a_queue(server, store, front, tmp_path):
    models.scale(tmp_path / "models/scale.onnx")
    named = Configuration(client={"ward": {"token_sha256": ["ab" * 32]}})
    with Attested(tmp_path, named).served() as url, relay(url, server.link()):
        with Client(front.url, ACCEPTED, proxy_ca=front.ca) as client, pytest.raises(NotKnown):
            ask(client)


def test_what_the_worker_does_not_take_is_told_and_what_is_beside_it_answered(server, store, front, tmp_path):
    models.scale(tmp_path / "models/scale.onnx")
    rows = np.zeros((3 * 65_536, 4), np.float32)
    with ThreadPoolExecutor(4) as pool:
        large = [
            pool.submit(Raw(front), seal_fresh(content(*some), INFER, KEY)[0])
            for some in (rows[:66_000], rows)
        ]
        small = [pool.submit(Raw(front), sealed()[0]) for _ in range(2)]
        eventually(lambda: store.xlen(STREAM) == 4)
        with Attested(tmp_path, Configuration(max_body_mib=1)).served() as url, relay(url, server.link()):
            assert [each.result().status_code for each in small] == [200] * 2
            assert [each.result().headers["confide-error"] for each in large] == ["TooLarge"] * 2


def test_a_certificate_of_the_operators_own(server, store, worker, tmp_path):
    authority = CertificateAuthority.create(int(time.time()))
    (tmp_path / "front.pem").write_bytes(authority.issue_leaf(["127.0.0.1"], int(time.time())))
    given = GivenCertificate(tmp_path / "front.pem")
    with front_end(server.link(), tmp_path, certificate=given) as front, relay(worker.url, server.link()):
        with Client(front.url, ACCEPTED, proxy_ca=authority.certificate_pem) as client:
            assert np.array_equal(ask(client), 2 * X)
    for content_of in (None, b"x"):
        (tmp_path / "front.pem").unlink() if content_of is None else (tmp_path / "front.pem").write_bytes(
            content_of
        )
        with pytest.raises(Misuse), front_end(server.link(), tmp_path, certificate=given):
            pass


def test_the_documented_users_are_those_that_are_tested():
    text = (Path(__file__).parents[3] / "docs/serving.md").read_text()
    assert all(f" {rules}\n" in text for rules in (FRONT_END, WORKER))


def test_a_queue_of_inputs_over_the_queue(server, store, front, worker):
    with (
        relay(worker.url, server.link()),
        Client(front.url, ACCEPTED, proxy_ca=front.ca) as client,
        InputQueue(client, "scale") as requests,
    ):
        results = OutputQueue(requests)
        for number in range(5):
            requests.enqueue(f"row-{number}", x=X * number)
        found = eventually(lambda: results.query("row-3"))
        assert np.array_equal(found["y"], 6 * X)
        assert np.array_equal(requests.predict(x=X)["y"], 2 * X)
        assert eventually(lambda: results.query_and_delete("row-3")) is not None
        left = {}
        eventually(lambda: left.update(results.dequeue()) or len(left) == 4)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "rediss://a:secret@localhost",
        "rediss://",
        "rediss://h/x",
        "rediss://h:0",
        "rediss://h?x=1",
    ],
)
def test_urls_that_are_refused(url):
    with pytest.raises(Misuse) as refused:
        RedisLink.parse(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("setting", "value", "kept"),
    [
        ("appendonly", "no", "yes"),
        ("appendfsync", "everysec", "always"),
        ("no-appendfsync-on-rewrite", "yes", "no"),
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
    ],
)
def test_a_store_that_would_lose_requests_is_refused(server, store, tmp_path, setting, value, kept):
    store.config_set(setting, value)
    try:
        with pytest.raises(Misuse, match=f"{setting} {kept}"):
            asyncio.run(check(server.link()))
    finally:
        store.config_set(setting, kept)


def test_a_store_that_would_not_read_its_own_file_is_refused(server, store, tmp_path):
    """Redis 7.0 leaves out what the user `default` may not do: shown here, so that the check is known to be needed."""
    store.set("control", "x")
    with store.pipeline(transaction=True) as pipe:
        pipe.set("one", "x")
        pipe.set("two", "x")
        pipe.execute()
    file = (server.folder / "users.acl").read_text()
    (server.folder / "users.acl").write_text(file.replace("default off resetpass ~* &* +@all", "default off"))
    try:
        server.kill()
        server.start()
        with server.operator() as operator:
            assert operator.get("one") is None
        with pytest.raises(Misuse, match="user default off resetpass"):
            asyncio.run(check(server.link()))
    finally:
        (server.folder / "users.acl").write_text(file)
        server.kill()
        server.start()


def test_a_store_that_is_not_the_one_it_should_be_is_refused(server, store, tmp_path):
    link = server.link()
    (tmp_path / "other.pem").write_bytes(CertificateAuthority.create(int(time.time())).certificate_pem)
    strangers = [
        RedisLink.parse(server.url(), server.folder / "password", tmp_path / "other.pem"),
        RedisLink(**{**vars(link), "host": "127.0.0.1"}),  # its certificate is for localhost
    ]
    for stranger in strangers:
        with pytest.raises(Unreachable):
            asyncio.run(check(stranger))
    with pytest.raises(Misuse):
        asyncio.run(check(RedisLink(**{**vars(link), "password": "wrong"})))


def test_an_authority_that_is_named_is_the_only_one(server, store, tmp_path, monkeypatch):
    other = CertificateAuthority.create(int(time.time())).certificate_pem
    (tmp_path / "other.pem").write_bytes(other)
    link = server.link()
    monkeypatch.setenv("SSL_CERT_FILE", str(server.folder / "ca.pem"))  # the system's
    asyncio.run(check(RedisLink(**{**vars(link), "authority": None})))
    with pytest.raises(Unreachable):
        asyncio.run(check(RedisLink(**{**vars(link), "authority": other})))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "other.pem"))
    asyncio.run(check(link))
    with pytest.raises(Misuse, match="PEM"):
        RedisLink(**{**vars(link), "authority": b"x"}).connect()


def test_each_user_may_do_what_it_needs_and_no_more(server, store):
    for user, needed, other in (
        ("front", redis_link.FRONT_END, "worker"),
        ("worker", redis_link.WORKER, "front"),
    ):
        asyncio.run(check(server.link(user), needed))
        with pytest.raises(Misuse, match=f"user {other} may not do what is needed: X"):
            asyncio.run(check(server.link(other), needed))
    for user, forbidden in {
        "front": (
            ["XREADGROUP", "GROUP", "workers", "c", "STREAMS", STREAM, ">"],
            ["FLUSHALL"],
            ["KEYS", "*"],
        ),
        "worker": (["XADD", STREAM, "*", "a", "b"], ["FLUSHALL"], ["CONFIG", "SET", "appendonly", "no"]),
    }.items():
        with redis.Redis(
            host="localhost",
            port=server.port,
            username=user,
            password=server.link().password,
            ssl=True,
            ssl_ca_certs=str(server.folder / "ca.pem"),
        ) as client:
            for command in forbidden:
                with pytest.raises(redis.exceptions.NoPermissionError):
                    client.execute_command(*command)
