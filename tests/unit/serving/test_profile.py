"""A worker's life: what it does when its broker says something else, or nothing any more."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import threading
import time
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
import uvloop

from confide.attestation.evidence import StatedImage
from confide.broker.release import Release, ReleasedKey
from confide.broker.rules import RELEASE_TTL_S
from confide.enclave.attester import OwnEvidence
from confide.enclave.simulated.issuer import SimulatedIssuer
from confide.errors import BrokerUnavailable, ConfideError, MeasurementRefused, Misuse, StorageUnavailable
from confide.keys.signing import generate_signing_key
from confide.serving import profile
from confide.serving.configuration import Configuration
from confide.serving.models import Models

from ... import models

pytestmark = pytest.mark.exhaustive

SECRET = base64.b64encode(bytes(32)).decode()


def release(expires_s=3600.0, versions=1):
    key = ReleasedKey(current=versions, versions={str(n + 1): SECRET for n in range(versions)})
    return Release(
        workload="w",
        owners=("clinic",),
        keys={"clinic/pool": key},
        grants=(),
        requests="clinic/pool",
        expires=int(time.time() + expires_s),
    )


@dataclass
class Enclave:
    """What an agent hands to the profile, and what its broker says when it is asked again."""

    folder: object
    first: Release
    renew: object
    told: list = field(default_factory=list)
    launch: dict = field(default_factory=dict)

    def __post_init__(self):
        self.image = SimpleNamespace(limits=SimpleNamespace(cores=1))
        self.release, self.scratch, self.work = self.first, self.folder, self.folder
        self.output = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT)
        stated = StatedImage(measurement="ab" * 32, role="driver", svn=1)
        issuer = SimulatedIssuer(generate_signing_key(), stated)
        self.evidence = OwnEvidence("simulated", stated, lambda said: issuer.issue(said.report_data()))

    def started(self):
        self.told.append("started")

    def tell(self, state, **details):
        self.told.append(state)

    def events(self):
        lines = (self.folder / "log").read_text().splitlines()
        return [(said["event"], said.get("error")) for said in map(json.loads, lines)]


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve models/scale.onnx until the worker ends by itself, or `until` says so."""
    models.scale(tmp_path / "models/scale.onnx")
    monkeypatch.setattr(profile, "MODELS", tmp_path / "models")

    def go(first, renew, until=lambda worker, enclave: False, launch=(), **settings):
        enclave = Enclave(tmp_path, first, renew, launch=dict(launch))

        async def body():
            worker = profile._Worker(enclave, Configuration(refresh_s=1, **settings))
            serving = asyncio.create_task(worker.serve())
            while not serving.done() and not until(worker, enclave):
                await asyncio.sleep(0.02)
            if not serving.done():
                worker._server.should_exit = True
            await serving

        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(body())
        finally:
            os.close(enclave.output)
        return enclave

    return go


def say(said):
    """What a broker answers, one after the other, the last again and again: releases, or errors."""
    answers = list(said)

    def renew():
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return renew


def test_a_worker_that_is_cut_off_ends_with_its_release(serve, tmp_path):
    with pytest.raises(BrokerUnavailable, match="until the release ended"):
        serve(release(2), say([BrokerUnavailable("cut off")]))
    said = (tmp_path / "log").read_text()
    assert '"ended"' in said


def test_a_worker_whose_broker_holds_the_line_ends_with_its_release(serve):
    with pytest.raises(BrokerUnavailable):
        serve(release(2), lambda: time.sleep(4) or release())


def test_a_worker_whose_storage_holds_a_model_back_ends_with_its_release(serve):
    async def never(*_, **__):
        await asyncio.Event().wait()

    def hold_back(worker, _):
        if worker._ready:
            worker._models.follow = never
        return False

    with pytest.raises(StorageUnavailable, match="until the release ended"):
        serve(release(2), lambda: release(2), hold_back)


def test_a_worker_that_cannot_tell_what_models_there_are_ends_with_its_release(serve, tmp_path):
    def spoil(worker, _):
        if worker._ready and (tmp_path / "models/scale.onnx").exists():
            (tmp_path / "models/scale.onnx").rename(tmp_path / "models/a b.onnx")
        return False

    with pytest.raises(StorageUnavailable, match="until the release ended"):
        serve(release(3), lambda: release(3), spoil)


def test_a_worker_whose_models_are_held_back_from_the_start_ends_with_its_release(serve, monkeypatch):
    async def never(*_, **__):
        await asyncio.Event().wait()

    monkeypatch.setattr(profile.Models, "follow", never)
    with pytest.raises(StorageUnavailable, match="until the release ended"):
        serve(release(1), lambda: release(1))


def test_a_worker_that_loaded_past_its_release_does_not_serve(serve, monkeypatch):
    follow = profile.Models.follow

    async def late(self, *given, **named):
        await follow(self, *given, **named)
        time.sleep(2)  # a load that nothing interrupts

    monkeypatch.setattr(profile.Models, "follow", late)
    seen = []
    with pytest.raises(ConfideError):
        serve(
            release(2),
            say([BrokerUnavailable("away")]),
            lambda worker, _: seen.append(worker._ready) or False,
        )
    assert not any(seen)


@pytest.fixture
def slow(monkeypatch, tmp_path):
    """Let a model, that is put beside the others when the worker is ready, be loaded only when `slow.go` is set."""
    slow, load = SimpleNamespace(go=threading.Event(), begun=0), Models._open

    def wait(self, source, *more):
        if source.name == "slow":
            slow.begun += 1
            slow.go.wait(60)
        return load(self, source, *more)

    monkeypatch.setattr(Models, "_open", wait)
    slow.put = lambda: models.scale(tmp_path / "models/slow.onnx")
    yield slow
    slow.go.set()


def test_a_refusal_ends_a_worker_that_is_loading_a_model(serve, slow):
    def loading(worker, _):
        if worker._ready and not slow.begun:
            slow.put()
        return False

    with pytest.raises(MeasurementRefused):
        serve(release(), say([release(), release(), MeasurementRefused("withdrawn")]), loading)
    assert slow.begun == 1


@pytest.mark.parametrize("said", [MeasurementRefused("withdrawn"), BrokerUnavailable("away")])
def test_who_loads_for_long_asks_before_it_serves(serve, slow, tmp_path, said):
    slow.put()
    threading.Timer(1.5, slow.go.set).start()
    try:
        serve(release(), say([said]), lambda worker, _: worker._ready)
    except MeasurementRefused:
        assert '"ready"' not in (tmp_path / "log").read_text()
        assert type(said) is MeasurementRefused
    else:
        assert "refresh-failed" in (tmp_path / "log").read_text()


def test_what_is_gone_is_unloaded_while_a_model_is_loaded_which_is_loaded_once(serve, slow, tmp_path):
    models.lookup(tmp_path / "models/lookup.onnx")
    asked = []

    def loaded(worker, _):
        if worker._ready and not slow.begun:
            slow.put()
        if slow.begun:
            (tmp_path / "models/lookup.onnx").unlink(missing_ok=True)
        if not worker._models.versions("lookup") and len(asked) > 4:
            slow.go.set()
        return bool(worker._models.versions("slow"))

    serve(release(), lambda: asked.append(1) or release(), loaded)
    assert (
        slow.begun == 2
    )  # again, as there are other models now; then once for several answers of the broker


def test_clients_do_not_keep_the_broker_from_being_asked(serve):
    held, waiting = threading.Event(), []

    def busy(worker, _):
        if worker._ready and not waiting:  # as large requests that are read
            loop = asyncio.get_running_loop()
            waiting.extend(loop.run_in_executor(None, held.wait, 30) for _ in range(64))
        if worker._ended:
            held.set()
        return False

    with pytest.raises(MeasurementRefused):
        serve(release(), say([release(), MeasurementRefused("withdrawn")]), busy)
    assert held.is_set()


def test_a_clock_that_is_put_back_lengthens_no_release(serve):
    def bounded(worker, _):
        return worker._ready and worker._until - asyncio.get_running_loop().time() <= RELEASE_TTL_S

    serve(release(10 * 365 * 24 * 3600), say([release()]), bounded)


@pytest.mark.parametrize("failure", [BrokerUnavailable("away"), RuntimeError("canary 7391")])
def test_a_worker_whose_broker_comes_back_goes_on(serve, tmp_path, failure):
    renewed = say([failure, release(3600, 2)])
    enclave = serve(release(), renewed, lambda _, enclave: ("pool-key", None) in enclave.events())
    assert ("refresh-failed", type(failure).__name__) in enclave.events()
    assert "7391" not in (tmp_path / "log").read_text()


def test_a_certificate_is_replaced_after_half_its_life(serve, monkeypatch):
    monkeypatch.setattr(profile, "LEAF_SHOWN_S", 0)
    shown = set()

    def replaced(worker, _):
        if worker._ready and worker._server.started:
            address = worker._server.servers[0].sockets[0].getsockname()
            asyncio.get_running_loop().run_in_executor(
                None, lambda: shown.add(ssl.get_server_certificate(address))
            )
        return len(shown) > 1

    serve(release(), lambda: release(), replaced)


def test_gRPC_shows_the_replaced_certificate_too(serve, monkeypatch):
    monkeypatch.setattr(profile, "LEAF_SHOWN_S", 0)
    shown = set()

    def replaced(worker, _):
        if worker._ready and worker._server.started:
            address = worker._grpc._server._acceptor.sockets[0].getsockname()
            asyncio.get_running_loop().run_in_executor(
                None, lambda: shown.add(ssl.get_server_certificate(address))
            )
        return len(shown) > 1

    serve(release(), lambda: release(), replaced, {"grpc": "127.0.0.1:0"}, plain_requests=True)


def test_gRPC_ends_with_the_worker(serve):
    with pytest.raises(MeasurementRefused):
        serve(
            release(),
            say([MeasurementRefused("withdrawn")]),
            launch={"grpc": "127.0.0.1:0"},
            plain_requests=True,
        )


def test_gRPC_is_not_served_where_requests_must_be_sealed(serve):
    with pytest.raises(Misuse, match="plain_requests"):
        serve(release(), say([release()]), launch={"grpc": "127.0.0.1:0"})


def test_without_being_asked_nothing_of_gRPC_listens(serve):
    found = []

    def ready(worker, _):
        found.append(worker._grpc)
        return worker._ready

    serve(release(), say([release()]), ready, plain_requests=True)
    assert set(found) == {None}


def test_a_refusal_ends_a_worker(serve):
    with pytest.raises(MeasurementRefused):
        serve(release(), say([MeasurementRefused("withdrawn")]))
