"""Several requests in one: each is answered as if it had come alone, whatever is beside it."""

from __future__ import annotations

import asyncio
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.serving.batches import answer_batch
from confide.serving.configuration import Configuration
from confide.serving.envelope import Target
from confide.serving.failures import InvalidRequest
from confide.serving.frames import (
    BATCH_PATH,
    MAX_FRAMES,
    MAX_HEAD_BYTES,
    AnswerHead,
    Frame,
    FrameReader,
    RequestHead,
    frames,
)
from confide.serving.identity import PATH
from confide.serving.sealed import MEDIA_TYPE, seal_fresh

from ... import models
from .worker import POOL, Worker, content

INFER = "/v2/models/scale/infer"


@pytest.fixture
def run(tmp_path):
    models.scale(tmp_path / "models/scale.onnx")

    def go(test, **settings):
        async def body():
            worker = Worker(tmp_path, Configuration(**settings))
            await worker.follow()
            await test(worker)
            await worker.models.close()

        asyncio.run(body())

    return go


async def ask(worker, *requests):
    """Return status and body of each request, (head, body), by its number."""
    data = b"".join(Frame(number, *request).encode() for number, request in enumerate(requests))
    answer = await worker.http.post(BATCH_PATH, content=data)
    assert answer.status_code == 200
    found = {frame.number: frame for frame in frames(answer.content)}
    assert len(found) == len(requests)
    return [(AnswerHead.decode(found[n].head), found[n].body) for n in range(len(requests))]


def sealed(*row):
    data, key = seal_fresh(content(row), Target("infer", "scale"), POOL.public[-1])
    return (RequestHead("POST", INFER, headers={"content-type": MEDIA_TYPE}).encode(), data), key


def test_each_is_answered_as_if_it_were_alone(run):
    async def test(worker):
        one, key = sealed(1, 2, 3, 4)
        wrong = (one[0], one[1][:-1] + bytes([one[1][-1] ^ 1]))
        wanted = [
            one,
            wrong,
            (b"{", b""),
            (RequestHead("GET", PATH, "nonce=7").encode(), b""),
            (RequestHead("GET", "/v2/health/ready").encode(), b""),
            (RequestHead("POST", INFER).encode(), b"{}"),
            (RequestHead("POST", BATCH_PATH).encode(), Frame(0, *one).encode()),
            (json.dumps({"method": "GET", "path": "/v2", "headers": {"é€": "x"}}).encode(), b""),
            (json.dumps({"method": "GET", "path": PATH, "query": "\ud800"}).encode(), b""),
            (json.dumps({"method": "GET", "path": "/v2/\ud800"}).encode(), b""),
        ]
        answers = await ask(worker, *wanted)
        assert [head.status for head, _ in answers] == [200, 400, 400, 200, 200, 403, 404, 400, 400, 400]
        assert key.open(answers[0][1]).status == 200
        assert answers[1][0].headers["confide-error"] == "Tampered"
        assert json.loads(answers[3][1]) == {"nonce": "7"}
        assert answers[5][0].headers["confide-error"] == "NotTaken"

    run(test)


def test_evidence_is_for_many_clients_in_batches_and_bounded_there_too(run):
    async def test(worker):
        nonce = (RequestHead("GET", PATH, "nonce=7").encode(), b"")
        for _ in range(21):
            alone = await worker.http.get(f"{PATH}?nonce=7")
        assert alone.status_code == 429
        answers = await ask(worker, *[nonce] * 100)
        assert {head.status for head, _ in answers} == {200}
        answers = await ask(worker, *[nonce] * 250)
        assert {head.status for head, _ in answers} == {200, 429}
        assert (await ask(worker, (RequestHead("GET", PATH).encode(), b"")))[0][0].status == 200

    run(test)


def test_an_application_that_fails_on_one_answers_the_others():
    async def application(scope, receive, send):
        if scope["path"] == "/fails":
            raise KeyError
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def body():
        heads = [RequestHead("GET", path).encode() for path in ("/a", "/fails", "/b")]
        sent = []

        async def send(message):
            sent.append(message.get("body", b""))

        await answer_batch(application, [Frame(n, head, b"") for n, head in enumerate(heads)], None, send)
        return {frame.number: AnswerHead.decode(frame.head).status for frame in frames(b"".join(sent))}

    assert asyncio.run(body()) == {0: 204, 1: 500, 2: 204}


def test_answers_go_when_they_are_there_and_together_where_they_come_together():
    async def body():
        turns, sent = {"/a": 1, "/b": 1, "/c": 5, "/d": 9, "/e": 9}, []

        async def application(scope, receive, send):
            for _ in range(turns[scope["path"]]):
                await asyncio.sleep(0)
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body", "body": scope["path"].encode()})

        async def send(message):
            sent.append(frames(message.get("body", b"")))

        batch = [Frame(n, RequestHead("GET", path).encode(), b"") for n, path in enumerate(turns)]
        await answer_batch(application, batch, None, send)
        return [[frame.body for frame in each] for each in sent if each]

    assert asyncio.run(body()) == [[b"/a", b"/b"], [b"/c"], [b"/d", b"/e"]]


def test_each_counts_as_a_request_and_by_its_bytes(run):
    async def test(worker):
        answers = await ask(worker, *(sealed(1, 2, 3, 4)[0] for _ in range(6)))
        assert sorted(head.status for head, _ in answers) == [200] * 3 + [429] * 3
        assert worker.admission._pending._all == 0

    run(test, rate_per_s=1, burst=4)  # the batch itself is one


def test_a_batch_that_is_none(run):
    async def test(worker):
        many = Frame(0, b"{}", b"").encode() * (MAX_FRAMES + 1)
        for data in (b"x", Frame(0, b"{}", b"abc").encode()[:-1], many, struct.pack(">III", 0, 2**31, 0)):
            answer = await worker.http.post(BATCH_PATH, content=data)
            assert (answer.status_code, answer.headers["confide-error"]) == (400, "InvalidRequest")
        assert (await worker.http.post(BATCH_PATH, headers={"content-length": str(2**40)})).status_code == 413

    run(test)


@given(
    st.lists(
        st.tuples(st.integers(0, 2**32 - 1), st.binary(max_size=99), st.binary(max_size=99)), max_size=9
    ),
    st.data(),
)
def test_frames_come_in_whatever_pieces(given_frames, data):
    wanted = [Frame(*each) for each in given_frames]
    raw = b"".join(frame.encode() for frame in wanted)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=5)))
    reader, found = FrameReader(), []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        found += reader.feed(raw[start:end])
    assert found == wanted
    assert reader.left == 0


@given(st.binary(max_size=200))
def test_whatever_comes_is_a_head_or_refused(data):
    for kind in (RequestHead, AnswerHead):
        try:
            head = kind.decode(data)
        except InvalidRequest:
            continue
        assert kind.decode(head.encode()) == head


@pytest.mark.parametrize("status", ["200", None, True, 199, 600, 2.0])
def test_what_is_no_status(status):
    with pytest.raises(InvalidRequest, match="status"):
        AnswerHead.decode(json.dumps({"status": status, "headers": {}}).encode())


def test_a_head_is_bounded():
    with pytest.raises(InvalidRequest, match="too long"):
        frames(Frame(0, b" " * (MAX_HEAD_BYTES + 1), b"").encode())
