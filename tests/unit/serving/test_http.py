"""The worker's endpoints, in this process: real models, keys and requests; only TLS and the enclave are not there."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import numpy as np
import pytest

from confide.broker.release import Access, Grant
from confide.data.listing import Format, Listing
from confide.data.listing_io import list_file
from confide.data.sealed_writer import SealedWriter
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName
from confide.serving.configuration import Configuration
from confide.serving.cost import Cost
from confide.serving.envelope import RequestContent, Target
from confide.serving.oip import Body, read_reply, write_request
from confide.serving.repository import find_sources
from confide.serving.sealed import MEDIA_TYPE, seal_fresh, seal_ticketed
from confide.serving.ticket import HeldTicket, Session, new_ticket, session_id

from ... import models
from .worker import EMPTY, POOL, Worker, content, x

CANARY = 7391.0
INFER = Target("infer", "scale")


@pytest.fixture
def run(tmp_path):
    """Run a coroutine function with a worker that serves models/scale.onnx, models/lookup.onnx."""
    models.scale(tmp_path / "models/scale.onnx")
    models.lookup(tmp_path / "models/lookup.onnx")

    def go(test, **settings):
        configuration = Configuration(**({"plain_requests": True} | settings))

        async def body():
            worker = Worker(tmp_path, configuration)
            await worker.follow()
            await test(worker)
            await worker.models.close()

        asyncio.run(body())

    return go


def test_endpoints_of_the_protocol(run):
    async def test(worker):
        async def get(path):
            answer = await worker.http.get(path)
            return answer.status_code, answer.json() if answer.content else None

        assert await get("/v2/health/live") == (200, None)
        assert await get("/v2/health/ready") == (200, None)
        assert (await get("/v2"))[1]["extensions"] == ["binary_tensor_data", "model_repository"]
        assert await get("/v2/models/scale/ready") == (200, None)
        assert await get("/v2/models/scale/versions/1/ready") == (200, None)
        assert await get("/v2/models/scale/versions/2/ready") == (404, None)
        assert await get("/v2/models/wine/ready") == (404, None)
        assert await get("/v2/models/scale") == (
            200,
            {
                "name": "scale",
                "versions": ["1"],
                "platform": "onnx_onnxv1",
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
            },
        )
        assert (await get("/v2/models/scale/versions/7"))[0] == 404
        index = await worker.http.post("/v2/repository/index")
        assert [(m["name"], m["state"]) for m in index.json()] == [("lookup", "READY"), ("scale", "READY")]
        worker.ready = False
        assert await get("/v2/health/ready") == (503, None)

    run(test)


def test_json_and_binary_requests(run):
    async def test(worker):
        answer = (await worker.infer("scale", x([1, 2, 3, 4], id="a"))).json()
        assert (answer["id"], answer["outputs"][0]["data"]) == ("a", [2, 4, 6, 8])
        document = {
            "inputs": [
                {"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}}
            ],
            "parameters": {"binary_data_output": True},
        }
        answer = await worker.infer("scale", document, np.array([1, 2, 3, 4], np.float32).tobytes())
        length = int(answer.headers["inference-header-content-length"])
        assert np.frombuffer(answer.content[length:], np.float32).tolist() == [2, 4, 6, 8]

    run(test)


@pytest.mark.parametrize(
    ("model", "document", "headers", "status", "said"),
    [
        ("wine", x([1, 2, 3, 4]), {}, 404, "wine"),
        ("scale", x([1, 2, 3]), {}, 400, "'x'"),
        ("scale", {"inputs": []}, {}, 400, "input 'x' is missing"),
        (
            "scale",
            {"inputs": x([1, 2, 3, 4])["inputs"] + [x([1, 2, 3, 4])["inputs"][0] | {"name": "z"}]},
            {},
            400,
            "'z'",
        ),
        ("scale", x([1, 2, 3, 4], outputs=[{"name": "q"}]), {}, 400, "output 'q'"),
        ("scale", [], {}, 400, "inference request"),
        ("scale", x([1, 2, 3, 4], parameters={"timeout": 10**400}), {}, 400, "timeout"),
        (
            "scale",
            {"inputs": [{"name": "x", "datatype": "FP32", "shape": [0, 2**40, 2**40], "data": []}]},
            {},
            400,
            "'x': shape",
        ),
        ("scale", x([1, 2, 3, 4]), {"content-encoding": "gzip"}, 400, "compressed"),
        ("scale", x([1, 2, 3, 4]), {"inference-header-content-length": "x"}, 400, "Length"),
        ("scale", x([1, 2, 3, 4]), {"inference-header-content-length": "99999"}, 400, "length of the JSON"),
        ("scale", x([1, 2, 3, 4]), {"content-length": str(2**40)}, 413, "at most"),
        ("scale", x([1, 2, 3, 4]), {"content-length": "x"}, 413, "at most"),
    ],
)
def test_errors_say_what_and_name_the_tensor(run, model, document, headers, status, said):
    async def test(worker):
        answer = await worker.infer(model, document, **headers)
        assert answer.status_code == status
        assert said in answer.json()["error"]

    run(test)


def test_poison_is_answered_and_the_others_too(run):
    def lookup(index):
        return {"inputs": [{"name": "index", "datatype": "INT64", "shape": [1], "data": [index]}]}

    async def test(worker):
        answers = await asyncio.gather(*(worker.infer("lookup", lookup(i)) for i in (1, 12345678, 2)))
        assert [answer.status_code for answer in answers] == [200, 500, 200]
        assert "12345678" not in answers[1].text
        assert answers[2].json()["outputs"][0]["data"] == [4, 5]

    run(test)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/models/scale/infer"),
        ("GET", "/v2/models/scale"),
        ("GET", "/v2/models/scale/ready"),
        ("GET", "/v2/models/wine/ready"),
        ("GET", "/v2"),
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/models/scale"),
        ("POST", "/confide/v1/serving/session"),
    ],
)
def test_nothing_is_told_in_clear_unless_the_owner_allows_it(run, method, path):
    async def test(worker):
        answer = await worker.http.request(method, path, json=x([1, 2, 3, 4]))
        assert (answer.status_code, answer.headers["confide-error"]) == (403, "NotTaken")

    run(test, plain_requests=False)


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/x"), ("GET", "/"), ("PUT", "/v2"), ("GET", "/v2/models")]
)
def test_no_such_endpoint(run, method, path):
    async def test(worker):
        assert (await worker.http.request(method, path)).status_code == 404

    run(test)


def test_sealed_requests_and_replies(run):
    async def test(worker):
        data, key = seal_fresh(content([1, 2, 3, CANARY]), INFER, POOL.public[0])
        answer = await worker.sealed(data)
        assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPE)
        reply = key.open(answer.content)
        assert reply.status == 200
        assert read_reply(reply.body)[2]["y"].tolist() == [[2, 4, 6, 2 * CANARY]]
        number = np.float32(CANARY).tobytes()
        assert number not in data
        assert (2 * np.float32(CANARY)).tobytes() not in answer.content

    run(test, plain_requests=False)


def test_what_fails_once_opened_is_told_sealed(run):
    async def test(worker):
        wrong = RequestContent(
            write_request({"secret-name": np.zeros((1, 4), np.float32)}, []), int(time.time() * 1000) + 9000
        )
        data, key = seal_fresh(wrong, INFER, POOL.public[0])
        answer = await worker.sealed(data)
        assert answer.status_code == 200
        reply = key.open(answer.content)
        assert reply.status == 400
        assert b"secret-name" in bytes(reply.body.data)
        assert b"secret-name" not in answer.content

    run(test)


def test_what_nobody_foresaw_is_told_sealed_too_and_counted_as_a_failure(run):
    async def test(worker):
        worker.models.get("scale").runtime.outputs = None
        data, key = seal_fresh(content([1, 2, 3, CANARY]), INFER, POOL.public[0])
        answer = await worker.sealed(data)
        assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPE)
        reply = key.open(answer.content)
        assert (reply.status, bytes(reply.body.data)) == (500, b'{"error":"internal error"}')
        assert (await worker.infer("scale", x([1, 2, 3, 4]))).status_code == 500
        text = (await worker.http.get("/metrics")).text
        for form in ("sealed", "plain"):
            assert f'requests_total{{form="{form}",model="scale",status="500",version="1"}} 1.0' in text
        assert 'status="200"' not in text

    run(test, detailed_metrics=True)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v2/models/lookup/infer", {}),
        ("/v2/models/scale/versions/1/infer", {}),
        ("/v2/models/scale/infer", {"confide-context": "ward 7"}),
        ("/v2/models/scale", {}),
        ("/confide/v1/serving/session", {}),
    ],
)
def test_a_sealed_request_sent_elsewhere_does_not_open(run, path, headers):
    async def test(worker):
        data, _ = seal_fresh(content([1, 2, 3, 4]), INFER, POOL.public[0])
        answer = await worker.sealed(data, path, **headers)
        assert (answer.is_error, answer.headers["confide-error"]) == (True, "Tampered")

    run(test)


def test_the_same_sealed_request_again_gets_the_same_answer_and_no_second_run(run):
    async def test(worker):
        data, key = seal_fresh(content([1, 2, 3, 4]), INFER, POOL.public[0])
        first = await worker.sealed(data)
        again = await asyncio.gather(*(worker.sealed(data) for _ in range(3)))
        assert {answer.content for answer in [first, *again]} == {first.content}
        assert key.open(first.content).status == 200
        assert (
            b'requests_total{form="sealed",model="scale",status="",version="1"} 1.0'
            in (await worker.http.get("/metrics")).content
        )

    run(test)


def test_another_request_under_a_used_id(run):
    async def test(worker):
        for expected in (200, 409):
            data, _ = seal_fresh(content([1, 2, 3, 4]), INFER, POOL.public[0], bytes(16))
            assert (await worker.sealed(data)).status_code == expected

    run(test)


def test_ids_of_fresh_requests_and_of_those_under_a_ticket_are_apart(run):
    async def test(worker):
        ticket, secret, expires, uses = new_ticket(POOL.key(POOL.public[0].id), int(time.time()))
        held = HeldTicket(ticket, POOL.public[0].id, Session.of(secret, expires, uses))
        foreseen = session_id(ticket) + bytes(
            8
        )  # whoever sees one request under a ticket knows the next one's id
        data, _ = seal_fresh(content([4, 3, 2, 1]), INFER, POOL.public[0], foreseen)
        assert (await worker.sealed(data)).status_code == 200
        data, key = seal_ticketed(content([1, 2, 3, 4]), INFER, held)
        assert data[18:34] == foreseen
        reply = key.open((await worker.sealed(data)).content)
        assert read_reply(reply.body)[2]["y"].tolist() == [[2, 4, 6, 8]]

    run(test)


def test_a_session_ticket(run):
    async def test(worker):
        target = Target("session")
        asked = RequestContent(Body(b"{}"), int(time.time() * 1000) + 9000)
        data, key = seal_fresh(asked, target, POOL.public[0])
        said = json.loads(
            bytes(key.open((await worker.sealed(data, "/confide/v1/serving/session")).content).body.data)
        )
        session = Session.of(bytes.fromhex(said["secret"]), said["expires"], said["uses"])
        held = HeldTicket(bytes.fromhex(said["ticket"]), POOL.public[0].id, session)
        for value in (1, 2):
            data, key = seal_ticketed(content([value, 0, 0, 0]), INFER, held)
            reply = key.open((await worker.sealed(data)).content)
            assert read_reply(reply.body)[2]["y"].tolist() == [[2 * value, 0, 0, 0]]
        data, key = seal_ticketed(content([1, 0, 0, 0]), INFER, held)
        assert (await worker.sealed(data, "/v2/models/lookup/infer")).headers["confide-error"] == "Tampered"

    run(test, plain_requests=False)


def test_metadata_sealed(run):
    async def test(worker):
        asked = RequestContent(Body(b"{}"), int(time.time() * 1000) + 9000)
        data, key = seal_fresh(asked, Target("metadata", "scale"), POOL.public[0])
        answer = await worker.sealed(data, "/v2/models/scale")
        assert json.loads(bytes(key.open(answer.content).body.data))["name"] == "scale"
        assert b"scale" not in answer.content

    run(test, plain_requests=False)


def test_the_same_plain_request_with_an_id_is_run_once(run):
    async def test(worker):
        runs = []
        model = worker.models.get("scale").runtime
        original = model.run
        model.run = lambda inputs: (runs.append(1), original(inputs))[1]
        for document in (x([1, 2, 3, 4], id="7"), x([1, 2, 3, 4], id="7"), x([4, 3, 2, 1], id="7")):
            answers = await asyncio.gather(*(worker.infer("scale", document) for _ in range(3)))
            assert len({answer.content for answer in answers}) == 1
        assert answers[0].json()["outputs"][0]["data"] == [8, 6, 4, 2]
        assert len(runs) == 2

    run(test)


def test_who_asks_too_often_is_told_when_to_come_again(run):
    async def test(worker):
        answers = [await worker.infer("scale", x([1, 2, 3, 4])) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
        assert int(answers[2].headers["retry-after"]) >= 1

    run(test, rate_per_s=1, burst=2)


class Slow:
    """A client that declares 16 MiB, sends a part of it, and then nothing."""

    def __init__(self, worker, address, sends):
        self._parts = [{"type": "http.request", "body": b"x" * sends, "more_body": True}]
        self.status = None
        headers = [(b"content-length", b"16777216"), (b"content-type", MEDIA_TYPE.encode())]
        scope = {"method": "POST", "path": "/v2/models/scale/infer", "query_string": b"", "headers": headers}
        self.task = asyncio.create_task(
            worker.app(scope | {"client": (address, 1)}, self._receive, self._send)
        )

    async def _receive(self):
        if not self._parts:
            await asyncio.Event().wait()
        return self._parts.pop()

    async def _send(self, message):
        self.status = self.status or message["status"]


def test_what_was_announced_and_never_sent_takes_no_room(run):
    async def test(worker):
        slow = [Slow(worker, "10.0.0.1", 0) for _ in range(1000)]
        await asyncio.sleep(0.05)
        assert (await worker.infer("scale", x([1, 2, 3, 4]))).status_code == 200
        for each in slow:
            each.task.cancel()

    run(test)


@pytest.mark.parametrize("address", ["10.0.0.{}", "2001:db8::{}"])
def test_one_client_takes_its_share_of_the_room(run, address):
    async def test(worker):
        piece, of_one = 8 * 2**20, address.format(1) if "." in address else address
        slow = [Slow(worker, of_one.format(n), piece) for n in range(9)]
        await asyncio.sleep(0.05)
        assert [each.status for each in slow] == [None] * 8 + [429]
        assert (await worker.infer("scale", x([1, 2, 3, 4]))).status_code == 200
        others = [Slow(worker, f"10.0.{n}.1", piece) for n in range(1, 30)]
        await asyncio.sleep(0.05)
        assert [each.status for each in others] == [None] * 24 + [429] * 5
        for each in slow + others:
            each.task.cancel()
        await asyncio.gather(*(each.task for each in slow + others), return_exceptions=True)
        assert (await worker.infer("scale", x([1, 2, 3, 4]))).status_code == 200

    run(test)


def test_a_full_queue_answers_429_and_loses_nothing(run):
    async def test(worker):
        gate = threading.Event()
        model = worker.models.get("scale")
        original = model.runtime.run
        model.runtime.run = lambda inputs: (gate.wait(30), original(inputs))[1]
        model.batcher._cost = Cost(1.0, 1.0)  # known to be slow: runs in a thread
        asked = [asyncio.create_task(worker.infer("scale", x([0, 0, 0, 0])))]
        while not model.batcher._busy:
            await asyncio.sleep(0.01)
        asked += [asyncio.create_task(worker.infer("scale", x([i, 0, 0, 0]))) for i in range(1, 6)]
        while sum(each.done() for each in asked) < 3:
            await asyncio.sleep(0.01)
        refused = [each for each in asked if each.done()]
        gate.set()
        answers = await asyncio.gather(*asked)
        assert [a.status_code for a in answers].count(429) == len(refused) == 3
        for i, answer in enumerate(answers):
            if answer.status_code == 200:
                assert answer.json()["outputs"][0]["data"][0] == 2 * i
            else:
                assert int(answer.headers["retry-after"]) >= 1

    run(test, max_queue=2)


def test_a_deadline_that_passes_while_waiting(run):
    async def test(worker):
        gate = threading.Event()
        model = worker.models.get("scale")
        original = model.runtime.run
        model.runtime.run = lambda inputs: (gate.wait(30), original(inputs))[1]
        model.batcher._cost = Cost(1.0, 1.0)
        first = asyncio.create_task(worker.infer("scale", x([1, 0, 0, 0])))
        while not model.batcher._busy:
            await asyncio.sleep(0.01)
        late = asyncio.create_task(worker.infer("scale", x([2, 0, 0, 0], parameters={"timeout": 1000})))
        await asyncio.sleep(0.05)
        gate.set()
        assert ((await first).status_code, (await late).status_code) == (200, 504)

    run(test)


def test_models_come_change_and_go_while_others_answer(run, tmp_path):
    async def test(worker):
        async def first(path=""):
            answer = await worker.infer("many", x([1, 0, 0, 0]), path=path)
            return answer.json()["outputs"][0]["data"][0] if answer.status_code == 200 else answer.status_code

        models.scale(tmp_path / "models/many/2/model.onnx", 2)
        models.scale(tmp_path / "models/many/10/model.onnx", 10)
        assert await first() == 404
        await worker.follow()
        assert (await first(), await first("/versions/2"), await first("/versions/3")) == (10, 2, 404)
        assert (await worker.http.get("/v2/models/many")).json()["versions"] == ["2", "10"]
        (tmp_path / "models/many/10/model.onnx").unlink()
        (tmp_path / "models/broken.onnx").write_bytes(b"not a model")
        await worker.follow()
        assert (await first(), await first("/versions/10")) == (2, 404)
        index = (await worker.http.post("/v2/repository/index")).json()
        assert ("broken", "UNAVAILABLE") in {(entry["name"], entry["state"]) for entry in index}
        assert [event for event, _ in worker.events].count("model-unloaded") == 1
        assert any(event == "model-failed" for event, _ in worker.events)

    run(test)


def test_a_version_whose_new_files_are_held_back_is_unloaded_and_asked_for_again(run, tmp_path):
    name, table, opened = KeyName("clinic", "models"), "1" * 32, []
    keys = Keyset({name: NamedKey(name, 1, {1: bytes(32)})})
    location = tmp_path / "iris"
    location.mkdir()

    def sealed(file):
        """Seal a file as the location's model, and return what its owner has committed."""
        target = location / "model.onnx"
        with target.open("wb") as out, SealedWriter(out, keys, name, table) as writer:
            writer.write(file.read_bytes())
        with target.open("rb") as stored:
            files = (list_file(target.name, stored, Format.FILES),)
        common = {"owner": "clinic", "location": "iris", "format": Format.FILES, "key": str(name)}
        listing = Listing(**common, table=table, serial=1, files=files)
        grant = Grant(**common, access=Access.READ, table=table, listing=listing)
        return EMPTY.model_copy(update={"grants": (grant,)})

    async def test(worker):
        load = worker.models._load
        worker.models._load = lambda *given: (opened.append(1), load(*given))[1]

        async def follow(release):
            await worker.models.follow(find_sources(tmp_path / "none", release, tmp_path), keys)
            answer = await worker.infer("iris", x([1, 0, 0, 0]))
            return answer.json()["outputs"][0]["data"][0] if answer.status_code == 200 else answer.status_code

        assert await follow(sealed(models.scale(tmp_path / "two.onnx", 2))) == 2
        new = sealed(models.scale(tmp_path / "three.onnx", 3))
        stored = (location / "model.onnx").read_bytes()
        for shown in (b"", stored[:-1] + bytes([stored[-1] ^ 1])):
            (location / "model.onnx").write_bytes(shown)
            assert await follow(new) == 404
        assert worker.events[-1][0] == "model-failed"
        (location / "model.onnx").write_bytes(stored)
        assert await follow(new) == 3
        (tmp_path / "none.onnx").write_bytes(b"no model")
        none = sealed(tmp_path / "none.onnx")
        opened.clear()
        assert [await follow(none) for _ in range(2)] == [404, 404]
        assert len(opened) == 1  # it will never be a model

    run(test)


def test_metrics_count_and_time_and_hold_no_payload(run):
    async def test(worker):
        await worker.infer("scale", x([CANARY, 2, 3, 4], id="canary-id"))
        await worker.infer("scale", x([1, 2, 3]))
        text = (await worker.http.get("/metrics")).text
        assert (
            'confide_serving_requests_total{form="plain",model="scale",status="200",version="1"} 1.0' in text
        )
        assert (
            'confide_serving_requests_total{form="plain",model="scale",status="400",version="1"} 1.0' in text
        )
        assert 'confide_serving_model_ready{model="scale",version="1"} 1.0' in text
        assert 'confide_serving_run_seconds_count{model="scale",version="1"} 1.0' in text
        assert "7391" not in text
        assert "canary" not in text

    run(test)


@pytest.mark.parametrize("detailed", [False, True])
def test_metrics_tell_what_padding_hides_only_where_the_owner_allows_it(run, detailed):
    async def test(worker):
        for rows in ([[1, 2, 3, 4]] * 3, [[1, 2, 3]]):
            body = write_request({"x": np.array(rows, np.float32)}, [])
            asked = RequestContent(body, int(time.time() * 1000) + 9000, padded=True)
            assert (await worker.sealed(seal_fresh(asked, INFER, POOL.public[0])[0])).status_code == 200
        text = (await worker.http.get("/metrics")).text
        assert ('batch_rows_sum{model="scale",version="1"} 3.0' in text) == detailed
        for status in ("200", "400"):
            assert (f'form="sealed",model="scale",status="{status}",version="1"}} 1.0' in text) == detailed
        assert ("rows" in text) == ('status="400"' in text) == detailed
        assert ('form="sealed",model="scale",status="",version="1"} 2.0' in text) != detailed

    run(test, detailed_metrics=detailed)


def test_introductions(run):
    async def test(worker):
        get = worker.http.get
        assert (await get("/confide/v1/serving")).json() == {"nonce": ""}
        assert (await get("/confide/v1/serving?nonce=" + "a" * 64)).json() == {"nonce": "a" * 64}
        codes = [(await get(f"/confide/v1/serving?nonce={n}")).status_code for n in range(25)]
        assert codes[:15] == [200] * 15
        assert codes[-1] == 429
        assert (await get("/confide/v1/serving")).status_code == 200
        for nonce in ("a" * 65, "%00", "a:b", "%C3%A4"):
            assert (await get(f"/confide/v1/serving?nonce={nonce}")).status_code == 400

    run(test, plain_requests=False)
