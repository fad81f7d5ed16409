"""Traces of requests: what a collector is told, by TLS 1.3 with the one that the owner's configuration names."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time

import httpx
import pytest

from confide.broker.ca import CertificateAuthority
from confide.errors import InvalidFormat
from confide.serving.configuration import Configuration
from confide.serving.envelope import Target
from confide.serving.frames import BATCH_PATH, Frame, frames
from confide.serving.front_end import FrontEnd
from confide.serving.queue_entries import Answered
from confide.serving.sealed import MEDIA_TYPE, seal_fresh
from confide.serving.service import Service
from confide.serving.traces import Traces

from ... import models
from .collector import collecting
from .grpc_worker import GrpcWorker
from .test_grpc import asked
from .worker import POOL, content, x

CANARY = 7391.0
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def collector():
    with collecting() as collector:
        yield collector


@pytest.fixture
def run(tmp_path, collector):
    """Run a coroutine with a worker, by REST and gRPC, that traces; return the spans that came."""
    models.scale(tmp_path / "models/scale.onnx")

    def run(test, authority=collector.authority, **more):
        said = {"endpoint": collector.url, "authority": authority.certificate_pem.decode()} | more

        async def body():
            worker = GrpcWorker(tmp_path, Configuration(plain_requests=True, traces=said))
            traces = Traces(Configuration(traces=said).traces)
            worker.service._traces = traces
            await worker.start()
            async with worker.http:
                await test(worker)
            await asyncio.to_thread(traces.close)
            await worker.server.close()
            await worker.models.close()

        asyncio.run(body())
        return collector.spans()

    return run


def test_a_request_its_wait_and_its_run(run, collector):
    async def test(worker):
        await worker.infer("scale", x([1, 2, 3, CANARY], id="7391"), traceparent=PARENT)

    spans = {span.name: (span, said) for span, said in run(test)}
    assert set(spans) == {"infer", "queue", "batch"}
    request, said = spans["infer"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, SPAN)
    assert request.kind == request.SPAN_KIND_SERVER
    assert said.pop("confide.request.bytes") > 0
    assert said.pop("confide.reply.bytes") > 0
    assert said == {
        "confide.form": "plain",
        "confide.status": 200,
        "confide.model": "scale",
        "confide.version": "1",
    }
    assert spans["batch"][1] == {"confide.rows": 1, "confide.requests": 1}
    assert spans["queue"][1] == {}
    for name in ("queue", "batch"):
        assert spans[name][0].parent_span_id == request.span_id
    assert spans["queue"][0].end_time_unix_nano == spans["batch"][0].start_time_unix_nano
    assert collector.by == [("/v1/traces", "TLSv1.3")]
    assert not any(b"7391" in data for data in collector.taken)


def test_sealed_requests_and_gRPC(run):
    async def test(worker):
        sealed, _ = seal_fresh(content([1, 2, 3, 4]), Target("infer", "scale"), POOL.public[0])
        await worker.sealed(sealed, traceparent=PARENT)
        await asyncio.to_thread(
            worker.call, "ModelInfer", asked([1, 2, 3, 4]), metadata=[("traceparent", PARENT)]
        )

    requests = [(span, said) for span, said in run(test) if span.name == "infer"]
    assert sorted(said["confide.form"] for _, said in requests) == ["plain", "sealed"]
    assert {span.trace_id.hex() for span, _ in requests} == {TRACE}


class StraightThrough:
    """In place of a queue and the relay: what a front end asks goes to a worker at once, as the relay sends it."""

    def __init__(self, worker):
        self._worker = worker

    async def answer(self, request):
        frame = Frame(0, request.head, request.body)
        answer = await self._worker.http.post(BATCH_PATH, content=frame.encode())
        (found,) = frames(answer.content)
        return Answered(found.head, found.body)


def test_a_trace_goes_on_behind_a_front_end(run):
    async def test(worker):
        front_end = httpx.ASGITransport(FrontEnd(StraightThrough(worker)))
        sealed, key = seal_fresh(content([1, 2, 3, 4]), Target("infer", "scale"), POOL.public[0])
        headers = {"content-type": MEDIA_TYPE, "traceparent": PARENT}
        async with httpx.AsyncClient(transport=front_end, base_url="https://front-end") as http:
            answer = await http.post("/v2/models/scale/infer", content=sealed, headers=headers)
        assert key.open(answer.content).status == 200

    spans = {span.name: span for span, _ in run(test)}
    assert set(spans) == {"infer", "queue", "batch"}
    assert (spans["infer"].trace_id.hex(), spans["infer"].parent_span_id.hex()) == (TRACE, SPAN)


def test_a_model_that_there_is_not_is_not_named(run, collector):
    async def test(worker):
        await worker.infer("canary-7391", x([1, 2, 3, 4]))

    ((span, said),) = run(test)
    assert (span.name, said["confide.status"], "confide.model" in said) == ("infer", 404, False)
    assert not any(b"7391" in data for data in collector.taken)


@pytest.mark.parametrize(
    ("ratio", "parent", "names"),
    [
        (0, "", []),
        (0, PARENT[:-1] + "0", []),
        (1, PARENT[:-1] + "0", []),
        (1, "garbage \xff", ["batch", "infer", "queue"]),
        (0, PARENT, ["batch", "infer", "queue"]),
    ],
)
def test_what_is_traced(run, ratio, parent, names):
    async def test(worker):
        headers = {"traceparent": parent.encode("latin-1")} if parent else {}
        assert (await worker.infer("scale", x([1, 2, 3, 4]), **headers)).status_code == 200

    assert sorted(span.name for span, _ in run(test, ratio=ratio)) == names


def test_another_collector_is_told_nothing_and_requests_are_answered(run, collector):
    async def test(worker):
        assert (await worker.infer("scale", x([1, 2, 3, 4]))).status_code == 200

    assert run(test, CertificateAuthority.create(int(time.time()), "another")) == []
    assert collector.taken == []


def test_only_the_authority_that_is_named_is_trusted(collector):
    named = {"endpoint": collector.url, "authority": collector.authority.certificate_pem.decode()}
    traces = Traces(Configuration(traces=named).traces)
    traces.begin("infer", "plain", 1, "").end(200, 1, None)
    traces.close()
    assert len(collector.taken) == 1
    session = traces._session
    assert set(session.adapters) == {"https://"}
    tls = session.adapters["https://"]._tls
    assert (tls.verify_mode, tls.check_hostname, len(tls.get_ca_certs())) == (ssl.CERT_REQUIRED, True, 1)


def test_without_traces_nothing_is_begun(tmp_path):
    assert Service(None, POOL, Configuration(), None)._traces is None


@pytest.mark.parametrize(
    "traces",
    [
        'endpoint = "http://127.0.0.1:4318/v1/traces"\nauthority = "{pem}"',
        'endpoint = "https://127.0.0.1:4318/v1/traces"',
        'endpoint = "https://127.0.0.1:4318/v1/traces"\nauthority = "x"',
        'authority = "{pem}"',
        'endpoint = "https://a b"\nauthority = "{pem}"',
        'endpoint = "https://a"\nauthority = "{pem}"\nratio = 2',
        'endpoint = "https://a"\nauthority = "{pem}"\ninsecure = true',
    ],
)
def test_configurations_of_no_collector(traces):
    pem = CertificateAuthority.create(int(time.time()), "x").certificate_pem.decode().replace("\n", "\\n")
    with pytest.raises(InvalidFormat):
        Configuration.from_toml(f"version = 1\n[traces]\n{traces}".replace("{pem}", pem).encode())
    with contextlib.suppress(InvalidFormat):
        Configuration.from_toml(
            f'version = 1\n[traces]\nendpoint = "https://a"\nauthority = "{pem}"'.encode()
        )
        return
    raise AssertionError("a good one is refused")
