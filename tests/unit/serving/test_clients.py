"""Clients that the owner's configuration names: who may ask, in clear and sealed, by REST and gRPC."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json

import pytest

from confide.errors import InvalidFormat
from confide.serving.clients import Clients, bearer, is_token, new_token
from confide.serving.configuration import Configuration
from confide.serving.envelope import RequestContent, Target
from confide.serving.failures import NotKnown, Overloaded
from confide.serving.sealed import seal_fresh

from ... import models
from .grpc_worker import message, serve
from .test_grpc import asked, rows
from .worker import POOL, Worker, content, x

WARD, LAB, OLD = "a" * 64, "b" * 64, "c" * 64
ROW = [1, 2, 3, 4]


def digest(token):
    return hashlib.sha256(token.encode()).hexdigest()


CLIENTS = {
    "ward": {"token_sha256": [digest(WARD), digest(OLD)]},
    "lab": {"token_sha256": [digest(LAB)], "rate_per_s": 1, "burst": 2},
}


def configured(clients=CLIENTS, **more):
    return Configuration(**({"client": clients, "plain_requests": True} | more))


@pytest.fixture
def run(tmp_path):
    """Run a coroutine with a worker that serves models/scale.onnx to the ward and the lab."""
    models.scale(tmp_path / "models/scale.onnx")

    def run(test, **more):
        async def body():
            worker = Worker(tmp_path, configured(**more))
            await worker.follow()
            async with worker.http:
                await test(worker)
            await worker.models.close()

        asyncio.run(body())

    return run


def test_a_client_has_a_name_by_any_of_its_tokens():
    clients = Clients(configured())
    assert [clients.take(token) for token in (WARD, OLD, LAB)] == ["ward", "ward", "lab"]


@pytest.mark.parametrize(
    "token", ["", "d" * 64, WARD.upper(), WARD[:-1], WARD + "a", digest(WARD), "ward", "ä"]
)
def test_who_is_not_known(token):
    with pytest.raises(NotKnown):
        Clients(configured()).take(token)


def test_where_nobody_is_named_anybody_may_ask():
    anybody = Clients(Configuration())
    assert anybody.take("") == anybody.take(WARD) == ""


def test_a_list_of_nobody_is_refused():
    for text in (b"[client]\n", b"client = {}\n"):
        with pytest.raises(InvalidFormat, match="client"):
            Configuration.from_toml(text)


def test_strangers_leave_no_answers_that_push_out_those_of_clients(run):
    async def test(worker):
        given = content(ROW)
        ours = RequestContent(given.body, given.not_after_ms, token=WARD)
        sealed, _ = seal_fresh(ours, Target("infer", "scale"), POOL.public[0])
        first = await worker.sealed(sealed)
        kept = len(worker.service._sealed._entries)
        for token in ("", "d" * 64):
            theirs = RequestContent(given.body, given.not_after_ms, token=token)
            stranger, _ = seal_fresh(theirs, Target("infer", "scale"), POOL.public[0])
            await worker.sealed(stranger)
        assert len(worker.service._sealed._entries) == kept == 1
        assert (await worker.sealed(sealed)).content == first.content

    run(test)


def test_new_tokens():
    assert len({new_token() for _ in range(100)}) == 100
    assert is_token(new_token())


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (f"Bearer {WARD}", WARD),
        (f"bearer  {WARD} ", WARD),
        ("", ""),
        (WARD, ""),
        (f"Basic {base64.b64encode(WARD.encode()).decode()}", ""),
        ("Bearer", ""),
    ],
)
def test_the_token_in_a_header(header, token):
    assert bearer(header) == token


@pytest.mark.parametrize(
    "clients",
    [
        "[client.ward]\ntoken_sha256 = []",
        "[client.ward]",
        f'[client.ward]\ntoken_sha256 = ["{WARD[:-1]}"]',
        f'[client.ward]\ntoken_sha256 = ["{WARD.upper()}"]',
        f'[client.ward]\ntoken = "{WARD}"',
        f'[client."a b"]\ntoken_sha256 = ["{WARD}"]',
        f'[client.ward]\ntoken_sha256 = ["{WARD}"]\nrate_per_s = 0',
        f'[client.ward]\ntoken_sha256 = ["{WARD}"]\n[client.lab]\ntoken_sha256 = ["{LAB}", "{WARD}"]',
    ],
)
def test_configurations_that_name_nobody(clients):
    with pytest.raises(InvalidFormat):
        Configuration.from_toml(f"version = 1\n{clients}".encode())


def authorized(token):
    return {"authorization": f"Bearer {token}"}


def test_requests_in_clear(run):
    async def test(worker):
        assert (await worker.infer("scale", x(ROW), **authorized(WARD))).status_code == 200
        for headers in ({}, authorized(OLD[:-1]), authorized(digest(WARD)), {"authorization": WARD}):
            refused = await worker.infer("scale", x(ROW), **headers)
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert refused.headers["confide-error"] == "NotKnown"

    run(test)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2"),
        ("GET", "/v2/models/scale"),
        ("GET", "/v2/models/none/ready"),
        ("GET", "/x"),
        ("POST", "/v2/repository/index"),
    ],
)
def test_what_tells_of_models_is_for_clients_that_are_known(run, method, path):
    async def test(worker):
        assert (await worker.http.request(method, path)).status_code == 401
        assert (await worker.http.request(method, path, headers=authorized(WARD))).status_code in (200, 404)

    run(test)


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/metrics", "/confide/v1/serving"])
def test_what_anybody_is_told(run, path):
    async def test(worker):
        assert (await worker.http.get(path)).status_code == 200

    run(test)


@pytest.mark.parametrize("operation", ["infer", "metadata", "session"])
@pytest.mark.parametrize(("token", "status"), [(WARD, 200), (OLD, 200), ("", 401), ("d" * 64, 401)])
def test_sealed_requests(run, operation, token, status):
    """The token is inside; one beside does not count, and who stands between sees neither token nor refusal."""

    async def test(worker):
        given = content(ROW)
        target = Target(operation, "" if operation == "session" else "scale")
        sealed, reply = seal_fresh(
            RequestContent(given.body, given.not_after_ms, token=token), target, POOL.public[0]
        )
        assert token.encode() not in sealed or not token
        path = {"infer": "/v2/models/scale/infer", "metadata": "/v2/models/scale"}.get(
            operation, "/confide/v1/serving/session"
        )
        answer = await worker.sealed(sealed, path, **authorized(WARD))
        assert answer.status_code == 200
        opened = reply.open(answer.content)
        assert opened.status == status
        if status == 401:
            assert "none came that is known" in json.loads(bytes(opened.body.data))["error"]

    run(test, plain_requests=False)


def test_a_token_is_cut_off():
    data = RequestContent(content(ROW).body, 1, token=WARD).encode()
    for size in (17, 17 + 63):
        with pytest.raises(InvalidFormat):
            RequestContent.decode(memoryview(data[:size]))
    read = RequestContent.decode(memoryview(data))
    assert (read.token, bytes(read.body.data)) == (WARD, content(ROW).body.data)
    assert WARD not in repr(read)


def test_each_client_has_a_rate_of_its_own(run):
    async def test(worker):
        codes = [(await worker.infer("scale", x(ROW), **authorized(LAB))).status_code for _ in range(4)]
        assert codes == [200, 200, 429, 429]
        assert (await worker.infer("scale", x(ROW), **authorized(WARD))).status_code == 200
        given = content(ROW)
        sealed, _ = seal_fresh(
            RequestContent(given.body, given.not_after_ms, token=LAB),
            Target("infer", "scale"),
            POOL.public[0],
        )
        assert (await worker.sealed(sealed)).status_code == 429

    run(test)


def test_the_rate_of_a_client_without_one_is_that_of_all():
    clients = Clients(configured(rate_per_s=1, burst=1))
    clients.take(WARD)
    with pytest.raises(Overloaded):
        clients.take(OLD)


def test_ids_count_for_each_client_on_its_own(run):
    async def test(worker):
        run, runs = worker.models.get("scale").runtime.run, []
        worker.models.get("scale").runtime.run = lambda inputs: runs.append(1) or run(inputs)
        for token in (WARD, OLD, LAB):
            await worker.infer("scale", x(ROW, id="7"), **authorized(token))
        assert len(runs) == 2

    run(test)


def test_gRPC(tmp_path):
    models.scale(tmp_path / "models/scale.onnx")

    def known(token):
        return {"metadata": [("authorization", f"Bearer {token}")]}

    def test(worker):
        assert rows(worker.call("ModelInfer", asked(ROW), **known(WARD))) == [2, 4, 6, 8]
        for more in ({}, known("d" * 64), {"metadata": [("authorization", WARD)]}):
            code, _, said = worker.refused("ModelInfer", asked(ROW), **more)
            assert (code, said["confide-error"]) == ("UNAUTHENTICATED", "NotKnown")
        for method in ("ServerMetadata", "ModelReady", "ModelMetadata", "RepositoryIndex"):
            assert worker.refused(method)[0] == "UNAUTHENTICATED"
            named = message(f"{method}Request")(**({"name": "scale"} if method.startswith("Model") else {}))
            worker.call(method, named, **known(WARD))
        assert worker.call("ServerLive").live
        assert worker.call("ServerReady").ready
        assert worker.call("/grpc.health.v1.Health/Check") == b"\x08\x01"
        assert [worker.call("ModelInfer", asked(ROW), **known(LAB)) and 1 for _ in range(2)] == [1, 1]
        assert worker.refused("ModelInfer", asked(ROW), **known(LAB))[0] == "RESOURCE_EXHAUSTED"

    serve(tmp_path, test, client=CLIENTS)
