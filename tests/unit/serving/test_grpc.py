"""gRPC of a worker over real TLS: its calls, its limits, and how it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import h2.settings
import numpy as np
import pytest

from confide.broker import acceptor
from confide.broker.ca import CertificateAuthority
from confide.broker.tls import load_chain
from confide.serving import grpc_connection, grpc_server
from confide.serving.cost import Cost
from confide.serving.grpc_messages import METHODS, ModelInferRequest, message

from ... import models
from .grpc_worker import PREFIX, headers, serve
from .worker import POOL

CANARY = 7391.0
HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = PREFACE + b"\0\0\0\1\0\0\0\0\1" + 5 * (b"\0\x40\0\x09\0\0\0\0\1" + bytes(16384))
MIB = 1024 * 1024


@pytest.fixture
def run(tmp_path):
    """Run a function, in a thread, with a worker that serves models/scale.onnx, models/lookup.onnx."""
    models.scale(tmp_path / "models/scale.onnx")
    models.lookup(tmp_path / "models/lookup.onnx")
    return lambda test, **settings: serve(tmp_path, test, **settings)


def asked(*rows, model="scale", raw=True, **more):
    array = np.array(rows, np.float32)
    request = ModelInferRequest(model_name=model, **more)
    tensor = request.inputs.add(name="x", datatype="FP32", shape=array.shape)
    if raw:
        request.raw_input_contents.append(array.tobytes())
    else:
        tensor.contents.fp32_contents.extend(array.ravel().tolist())
    return request


def lookup(index):
    request = ModelInferRequest(model_name="lookup")
    request.inputs.add(name="index", datatype="INT64", shape=[1]).contents.int64_contents.append(index)
    return request


def rows(reply):
    return np.frombuffer(reply.raw_output_contents[0], np.float32).tolist()


def hold(worker):
    """Let the model run only when the event that is returned is set; runs go to a thread."""
    go, runtime = threading.Event(), worker.models.get("scale").runtime
    run = runtime.run
    runtime.run = lambda inputs: go.wait(5) and run(inputs)
    worker.models.get("scale").batcher._cost = Cost(1.0, 1.0)
    return go


def eventually(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.02)


def test_the_methods_of_the_protocol(run):
    def test(worker):
        assert worker.call("ServerLive").live
        assert worker.call("ServerReady").ready
        assert list(worker.call("ServerMetadata").extensions) == ["model_repository"]
        assert worker.call("ModelReady", message("ModelReadyRequest")(name="scale", version="1")).ready
        for name, version in (("scale", "2"), ("wine", "")):
            assert not worker.call(
                "ModelReady", message("ModelReadyRequest")(name=name, version=version)
            ).ready
        said = worker.call("ModelMetadata", message("ModelMetadataRequest")(name="scale"))
        assert (said.name, list(said.versions), said.platform) == ("scale", ["1"], "onnx_onnxv1")
        assert [(each.name, each.datatype, list(each.shape)) for each in said.inputs] == [
            ("x", "FP32", [-1, 4])
        ]
        index = worker.call("RepositoryIndex").models
        assert [(each.name, each.state) for each in index] == [("lookup", "READY"), ("scale", "READY")]
        worker.ready = False
        assert not worker.call("ServerReady").ready

    run(test)


def test_inference(run):
    def test(worker):
        reply = worker.call("ModelInfer", asked([1, 2, 3, 4], id="7"))
        assert (reply.model_name, reply.model_version, reply.id) == ("scale", "1", "7")
        assert rows(reply) == [2, 4, 6, 8]
        reply = worker.call("ModelInfer", asked([1, 2, 3, 4], raw=False, model_version="1"))
        assert list(reply.outputs[0].contents.fp32_contents) == [2, 4, 6, 8]

    run(test)


def test_calls_run_together(run):
    def test(worker):
        go, seen = hold(worker), []
        runtime = worker.models.get("scale").runtime
        held = runtime.run
        runtime.run = lambda inputs: seen.append(len(inputs["x"])) or held(inputs)
        with worker.channel() as channel, ThreadPoolExecutor(9) as pool:
            calls = []
            for n in range(9):
                calls.append(pool.submit(worker.call, "ModelInfer", asked([n, 0, 0, 0]), channel=channel))
                eventually(lambda: worker.models.get("scale").batcher._busy)
            eventually(lambda: worker.models.get("scale").batcher.waiting == 8)
            go.set()
            assert [rows(call.result())[0] for call in calls] == [2.0 * n for n in range(9)]
        assert seen == [1, 8]

    run(test, latency_ms=60_000)


def with_output(name):
    request = asked([1, 2, 3, 4])
    request.outputs.add(name=name)
    return request


def with_input(name):
    request = asked([1, 2, 3, 4], raw=False)
    request.inputs.add(name=name, datatype="FP32", shape=[1, 1]).contents.fp32_contents.append(1)
    return request


@pytest.mark.parametrize(
    ("request_", "status", "said"),
    [
        (asked([1, 2, 3, 4], model="wine"), "NOT_FOUND", "'wine'"),
        (asked([1, 2, 3, 4], model_version="2"), "NOT_FOUND", "'2'"),
        (asked([1, 2, 3]), "INVALID_ARGUMENT", "'x': shape"),
        (ModelInferRequest(model_name="scale"), "INVALID_ARGUMENT", "'x' is missing"),
        (with_input("z"), "INVALID_ARGUMENT", "'z'"),
        (with_output("q"), "INVALID_ARGUMENT", "output 'q'"),
        (lookup(12345678), "INTERNAL", "the model failed on this request"),
        (b"\xff\xff", "INVALID_ARGUMENT", "not a ModelInferRequest"),
        (b"", "NOT_FOUND", "no model"),
        (bytes([0x2A, 0]) * 300, "INVALID_ARGUMENT", "inputs: more than 256"),
    ],
)
def test_errors_have_a_status_and_name_the_tensor(run, request_, status, said):
    def test(worker):
        code, details, more = worker.refused("ModelInfer", request_)
        assert code == status
        assert said in details
        assert "12345678" not in details
        assert more["confide-error"]

    run(test)


@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata", "ServerLive", "RepositoryIndex", HEALTH])
def test_what_is_no_message_of_a_method(run, method):
    run(lambda worker: _is(worker.refused(method, b"\xff"), "INVALID_ARGUMENT"))


def _is(refusal, status):
    assert refusal[0] == status, refusal


@pytest.mark.parametrize("path", ["/x/y", PREFIX + "ModelStreamInfer", PREFIX + "RepositoryModelLoad", "/"])
def test_no_such_method(run, path):
    run(lambda worker: _is(worker.refused(path), "UNIMPLEMENTED"))


def test_poison_is_answered_and_the_others_too(run):
    def test(worker):
        with ThreadPoolExecutor(3) as pool:
            calls = [pool.submit(worker.call, "ModelInfer", lookup(index)) for index in (1, 12345678, 2)]
        assert [type(call.exception()) for call in calls][::2] == [type(None), type(None)]
        assert calls[1].exception().code() is grpc.StatusCode.INTERNAL
        assert list(calls[2].result().outputs[0].contents.fp32_contents) == [4, 5]

    run(test)


def test_nothing_is_told_in_clear_unless_the_owner_allows_it(run):
    def test(worker):
        assert worker.call("ServerLive").live
        assert worker.call("ServerReady").ready
        assert worker.call(HEALTH) == b"\x08\x01"
        for method in set(METHODS) - {"ServerLive", "ServerReady"}:
            code, details, more = worker.refused(method)
            assert (code, more["confide-error"]) == ("PERMISSION_DENIED", "NotTaken")
            assert "plain_requests" in details

    run(test, plain_requests=False)


@pytest.mark.parametrize("method", ["ModelInfer", "ModelReady", HEALTH, REFLECTION])
def test_large_messages_are_refused_before_they_are_read(run, method):
    def test(worker):
        code, details, more = worker.refused(method, bytes(MIB + 1))
        assert (code, more["confide-error"]) == ("RESOURCE_EXHAUSTED", "TooLarge")
        assert str(MIB) in details
        assert worker.refused("ModelInfer", bytes(MIB))[0] == "INVALID_ARGUMENT"  # it was read

    run(test, max_body_mib=1)


def test_a_message_that_is_only_declared_is_refused_at_once(run):
    def test(worker):
        reached, connection = worker.http2()
        connection.send_headers(1, headers(PREFIX + "ModelInfer"))
        connection.send_data(1, b"\0\xff\xff\xff\xff")
        reached.sendall(connection.data_to_send())
        assert (b"grpc-status", b"8") in _trailers(reached, connection)
        reached.close()

    run(test)


def test_frames_that_hold_nothing_end_the_connection(run):
    """No window counts them, and a call that waits keeps them."""

    def test(worker):
        for frames, ends in ((50, False), (200, True)):
            reached, connection = worker.http2()
            connection.send_headers(1, headers("/grpc.health.v1.Health/Watch"))
            for _ in range(frames):
                connection.send_data(1, b"")
            with contextlib.suppress(OSError):
                reached.sendall(connection.data_to_send())
            reached.settimeout(2)
            assert _ended(reached) is ends
            reached.close()

    run(test)


def test_one_client_has_a_share_of_the_bytes_under_way(run):
    def test(worker):
        go = hold(worker)
        large = np.zeros((MIB // 16, 4), np.float32)
        request = ModelInferRequest(model_name="scale", raw_input_contents=[large.tobytes()])
        request.inputs.add(name="x", datatype="FP32", shape=large.shape)
        with worker.channel() as channel, ThreadPoolExecutor(70) as pool:
            calls = [pool.submit(worker.call, "ModelInfer", request, channel=channel) for _ in range(70)]
            eventually(lambda: sum(call.done() for call in calls) >= 7)
            go.set()
        refused = [call.exception() for call in calls if call.exception()]
        assert len(refused) < 70
        assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert len(refused) >= 7
        assert rows(worker.call("ModelInfer", asked([1, 2, 3, 4]))) == [2, 4, 6, 8]  # it is forgotten

    run(test)


def test_a_client_that_asks_too_often_is_told_when_to_come_again(run):
    def test(worker):
        for _ in range(3):
            worker.call("ModelInfer", asked([1, 2, 3, 4]))
        code, details, more = worker.refused("ModelInfer", asked([1, 2, 3, 4]))
        assert (code, more["retry-after"]) == ("RESOURCE_EXHAUSTED", "1")
        assert details == "too many requests"

    run(test, rate_per_s=1, burst=3)


def test_gRPC_and_REST_count_together(run):
    def test(worker):
        async def rest():
            return (await worker.infer("scale", {})).status_code

        # An address of the same client, as the in-process client has it.
        assert asyncio.run_coroutine_threadsafe(rest(), worker.loop).result() == 400
        assert worker.refused("ModelInfer", asked([1, 2, 3, 4]))[0] == "RESOURCE_EXHAUSTED"

    run(test, rate_per_s=1, burst=1)


def test_more_than_may_wait_is_pushed_back(run):
    def test(worker):
        go = hold(worker)
        with ThreadPoolExecutor(3) as pool:
            first = pool.submit(worker.call, "ModelInfer", asked([1, 2, 3, 4]))
            eventually(lambda: worker.models.get("scale").batcher._busy)
            second = pool.submit(worker.call, "ModelInfer", asked([1, 2, 3, 4]))
            eventually(lambda: worker.models.get("scale").batcher.waiting == 1)
            code, _, more = worker.refused("ModelInfer", asked([1, 2, 3, 4]))
            assert (code, more["confide-error"]) == ("RESOURCE_EXHAUSTED", "Overloaded")
            go.set()
            assert rows(first.result()) == rows(second.result()) == [2, 4, 6, 8]

    run(test, max_queue=1)


def test_deadlines_of_the_call_and_of_the_request(run):
    def test(worker):
        go = hold(worker)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(worker.call, "ModelInfer", asked([1, 2, 3, 4]))
            eventually(lambda: worker.models.get("scale").batcher._busy)
            assert worker.refused("ModelInfer", asked([1, 2, 3, 4]), timeout=0.2)[0] == "DEADLINE_EXCEEDED"
            late = asked([1, 2, 3, 4])
            late.parameters["timeout"].int64_param = 1
            second = pool.submit(lambda: None)
            go.set()
            first.result(), second.result()
            code, details, _ = worker.refused("ModelInfer", late)
            assert (code, "deadline" in details) == ("DEADLINE_EXCEEDED", True)

    run(test)


def test_a_repeat_with_an_id_is_answered_once_and_one_that_was_given_up_is_told(run):
    def test(worker):
        go, runs = hold(worker), []
        runtime = worker.models.get("scale").runtime
        held = runtime.run
        runtime.run = lambda inputs: runs.append(1) or held(inputs)
        request = asked([1, 2, 3, 4], id="7")
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(worker.refused, "ModelInfer", request, timeout=2)
            eventually(lambda: worker.models.get("scale").batcher._busy)
            again = pool.submit(worker.refused, "ModelInfer", request)
            assert first.result()[0] == "DEADLINE_EXCEEDED"
            assert again.result()[0] == "UNAVAILABLE"
            go.set()
        eventually(lambda: not worker.models.get("scale").batcher._busy)
        runs.clear()
        replies = {worker.call("ModelInfer", request).SerializeToString() for _ in range(3)}
        assert (len(replies), len(runs)) == (1, 1)
        worker.call("ModelInfer", asked([1, 2, 3, 5], id="7"))  # another question
        assert len(runs) == 2

    run(test)


def test_compressed_calls_are_not_taken(run):
    def test(worker):
        with worker.channel() as channel:
            code, details, _ = worker.refused(
                "ModelInfer", asked(*[[1, 2, 3, 4]] * 100), channel=channel, compression=grpc.Compression.Gzip
            )
        assert (code, "compressed" in details) == ("UNIMPLEMENTED", True)

    run(test)


def test_TLS_1_3_and_nothing_less(run):
    def test(worker):
        with worker.socket() as reached:
            assert (reached.version(), reached.selected_alpn_protocol()) == ("TLSv1.3", "h2")
        with pytest.raises(ssl.SSLError):
            worker.socket(ssl.TLSVersion.TLSv1_2)
        with grpc.insecure_channel(f"127.0.0.1:{worker.port}") as channel:
            assert worker.refused("ServerLive", channel=channel)[0] == "UNAVAILABLE"
        with worker.channel(
            CertificateAuthority.create(int(time.time()), "another").certificate_pem
        ) as channel:
            assert worker.refused("ServerLive", channel=channel)[0] == "UNAVAILABLE"

    run(test)


def test_a_renewed_certificate_is_shown_from_then_on(run):
    def test(worker):
        shown = ssl.get_server_certificate(("127.0.0.1", worker.port))
        assert shown.strip() in worker.leaf.decode()
        load_chain(worker.server.tls, worker.identity.leaf(POOL, int(time.time())))
        assert ssl.get_server_certificate(("127.0.0.1", worker.port)) != shown
        assert worker.call("ServerLive").live

    run(test)


def test_connections_of_one_client_are_bounded(run, monkeypatch):
    monkeypatch.setattr(acceptor, "MAX_OF_ONE_CLIENT", 3)

    def test(worker):
        kept = [worker.socket() for _ in range(3)]
        with pytest.raises(OSError):
            worker.socket()
        kept.pop().close()
        eventually(lambda: len(worker.server._server._connections) == 2)
        assert worker.call("ServerLive").live

    run(test)


def test_connections_whose_handshake_never_ends_count_and_end(run, monkeypatch):
    monkeypatch.setattr(acceptor, "MAX_OF_ONE_CLIENT", 3)
    monkeypatch.setattr(acceptor, "HANDSHAKE_S", 2.0)

    def test(worker):
        kept = [socket.create_connection(("127.0.0.1", worker.port), timeout=20) for _ in range(3)]
        with pytest.raises(OSError):
            worker.socket()
        assert all(map(_ended, kept))
        assert worker.call("ServerLive").live

    run(test)


def watch(worker, channel):
    """Begin to watch the health of the worker; return the call and its first message."""
    watching = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
    return watching, next(watching)


def test_streams_of_one_client_are_bounded_in_number(run, monkeypatch):
    monkeypatch.setattr(grpc_server, "MAX_STREAMS", 8)

    def test(worker):
        with worker.channel() as channel:
            kept = [watch(worker, channel)[0] for _ in range(2)]
            with pytest.raises(grpc.RpcError) as caught:
                watch(worker, channel)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert worker.call(HEALTH, channel=channel) == b"\x08\x01"
            kept.pop().cancel()
            eventually(lambda: worker.server._streams._all == 1)
            assert watch(worker, channel)[1] == b"\x08\x01"

    run(test)


@pytest.mark.parametrize(
    ("bound", "method"), [("STREAM_S", "/grpc.health.v1.Health/Watch"), ("CALL_S", HEALTH)]
)
def test_no_call_lasts_for_ever(run, monkeypatch, bound, method):
    """Not that of a client, either, whose window never lets the reply out."""
    monkeypatch.setattr(grpc_server, bound, 0.3)

    def test(worker):
        reached, connection = worker.http2()
        connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        connection.send_headers(1, headers(method))
        connection.send_data(1, b"\0\0\0\0\0", end_stream=True)
        reached.sendall(connection.data_to_send())
        assert (b"grpc-status", b"14") in _trailers(reached, connection)
        reached.close()

    run(test)


def _trailers(reached, connection):
    said = []
    while not any(name == b"grpc-status" for name, _ in said):
        for event in connection.receive_data(reached.recv(65536)):
            said += getattr(event, "headers", None) or []
    return said


def test_each_message_of_a_stream_counts(run):
    def test(worker):
        with worker.channel() as channel:
            asked = channel.stream_stream(REFLECTION)(iter([b"\x3a\0"] * 5))  # list_services
            with pytest.raises(grpc.RpcError) as caught:
                list(asked)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    run(test, rate_per_s=1, burst=3)


@pytest.mark.parametrize(
    ("frames", "ends"), [(500, False), (2000, True)], ids=["a few frames are free", "many count"]
)
def test_frames_that_are_of_no_call_count(run, frames, ends):
    def test(worker):
        reached, connection = worker.http2()
        for _ in range(frames):
            connection.ping(b"01234567")
        with contextlib.suppress(OSError):
            reached.sendall(connection.data_to_send())
        reached.settimeout(2)
        assert _ended(reached) is ends
        reached.close()
        if ends:
            assert worker.refused("ServerLive")[0] == "RESOURCE_EXHAUSTED"

    run(test, rate_per_s=1, burst=3)


@pytest.mark.parametrize(
    "changed", [(":path", "/x/y"), (":method", "PUT"), ("grpc-timeout", "x"), ("content-type", "x")]
)
def test_calls_that_are_of_no_method_count(run, changed):
    """Those that grpclib answers by itself."""

    def test(worker):
        reached, connection = worker.http2()
        strange = list((dict(headers(PREFIX + "ServerLive")) | dict([changed])).items())

        def call(number):
            connection.send_headers(2 * number + 1, strange, end_stream=True)
            if connection.open_outbound_streams > 50:
                reached.sendall(connection.data_to_send())
                if not (said := reached.recv(65536)):
                    raise ConnectionError
                connection.receive_data(said)

        assert _cut_off(reached, connection, call, 500)
        assert worker.refused("ServerLive")[0] == "RESOURCE_EXHAUSTED"

    run(test, rate_per_s=1, burst=20)


def test_many_calls_of_one_connection_cost_no_more_than_their_requests(run):
    def test(worker):
        with worker.channel() as channel:
            for _ in range(400):
                worker.call("ServerLive", channel=channel)
        assert worker.call("ServerLive").live

    run(test, rate_per_s=1, burst=402)


def test_calls_that_are_over_are_forgotten(run, monkeypatch):
    monkeypatch.setattr(grpc_connection, "MAX_CLOSED", 20)

    def test(worker):
        with worker.channel() as channel:
            for _ in range(50):
                worker.call("ServerLive", channel=channel)
            (connection,) = worker.server._server._connections
            assert 0 < len(connection.connection._connection._closed_streams) <= 20
            assert worker.call("ServerLive", channel=channel).live

    run(test)


def test_a_reply_that_is_too_large_is_refused_before_it_is_written(run):
    def test(worker):
        runtime = worker.models.get("scale").runtime
        run = runtime.run
        runtime.run = lambda inputs: [np.zeros((65 * MIB // 16, 4), np.float32)]
        code, _, more = worker.refused("ModelInfer", asked([1, 2, 3, 4]))
        assert (code, more["confide-error"]) == ("RESOURCE_EXHAUSTED", "Overloaded")
        runtime.run = run
        assert rows(worker.call("ModelInfer", asked([1, 2, 3, 4]))) == [2, 4, 6, 8]
        assert worker.admission._pending._all == 0

    run(test)


def _ended(reached):
    try:
        while reached.recv(65536):
            pass
    except OSError as error:
        return not isinstance(error, socket.timeout)
    return True


def test_a_connection_without_calls_ends(run, monkeypatch):
    monkeypatch.setattr(grpc_connection, "IDLE_S", 0.3)

    def test(worker):
        with worker.socket() as reached:
            assert _ended(reached)
        go = hold(worker)
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(worker.call, "ModelInfer", asked([1, 2, 3, 4]))  # takes longer, and is one
            time.sleep(1)
            go.set()
            assert rows(call.result()) == [2, 4, 6, 8]

    run(test)


def test_a_message_that_does_not_come_ends_its_call(run, monkeypatch):
    monkeypatch.setattr(grpc_connection, "RECEIVE_S", 0.2)

    def test(worker):
        with worker.channel() as channel:
            stuck = channel.stream_unary(PREFIX + "ModelInfer")
            gone = threading.Event()
            with pytest.raises(grpc.RpcError) as caught:
                stuck(iter(gone.wait, True), timeout=20)
            gone.set()
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "did not arrive" in caught.value.details()

    run(test)


def _cut_off(reached, connection, do, times=20_000):
    """Do it again and again; return whether that came to an end."""
    try:
        for number in range(times):
            do(number)
            reached.sendall(connection.data_to_send())
            if number % 100 == 0:
                time.sleep(0.001)  # the server is in this process, and needs its turn
    except OSError:
        return True
    finally:
        reached.close()
    return False


def test_who_gives_up_call_after_call_is_cut_off(run, monkeypatch):
    monkeypatch.setattr(grpc_connection, "MAX_RESETS", 20)

    def test(worker):
        reached, connection = worker.http2()

        def give_up(number):
            connection.send_headers(2 * number + 1, headers(PREFIX + "ServerLive"))
            connection.reset_stream(2 * number + 1)

        assert _cut_off(reached, connection, give_up)
        assert worker.call("ServerLive").live

    run(test)


@pytest.mark.exhaustive
def test_who_does_not_read_is_cut_off(run, monkeypatch):
    monkeypatch.setattr(grpc_connection, "MAX_UNREAD_BYTES", 64 * 1024)

    def test(worker):
        reached, connection = worker.http2()
        assert _cut_off(reached, connection, lambda _: [connection.ping(b"01234567") for _ in range(1000)])
        assert worker.call("ServerLive").live

    run(test)


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, PREFACE + b"\xff" * 200_000, HEAD],
    ids=["http/1.1", "garbage", "a frame of 16 MiB", "a head without an end"],
)
def test_what_is_no_HTTP_2(run, sent):
    def test(worker):
        with worker.socket() as reached:
            with contextlib.suppress(OSError):  # it may end while this is sent
                reached.sendall(sent)
            assert _ended(reached)
        assert worker.call("ServerLive").live

    run(test)


def test_a_worker_that_ends_answers_what_it_has_and_takes_nothing_more(run):
    def test(worker):
        go = hold(worker)
        with worker.channel() as channel, ThreadPoolExecutor(1) as pool:
            call = pool.submit(worker.call, "ModelInfer", asked([1, 2, 3, 4]))
            eventually(lambda: worker.models.get("scale").batcher._busy)
            worker.call("ServerLive", channel=channel)
            closing = asyncio.run_coroutine_threadsafe(worker.server.close(), worker.loop)
            eventually(lambda: worker.server._ending)
            assert worker.refused("ServerLive", channel=channel)[0] == "UNAVAILABLE"
            go.set()
            assert rows(call.result()) == [2, 4, 6, 8]
            closing.result()

    run(test)


def test_no_values_in_logs_or_errors(run, caplog, capfd):
    caplog.set_level(logging.DEBUG)

    def test(worker):
        def poison(inputs):
            raise RuntimeError(f"cannot with {inputs['x'].tolist()}")

        worker.call("ModelInfer", asked([1, 2, 3, CANARY], id="7391"))
        worker.models.get("scale").runtime.run = poison
        assert "7391" not in worker.refused("ModelInfer", asked([1, 2, 3, CANARY]))[1]
        worker.models.get("scale").runtime.inputs = None
        code, details, _ = worker.refused("ModelInfer", asked([1, 2, 3, CANARY]))
        assert (code, details) == ("INTERNAL", "internal error")
        worker.refused("ModelInfer", b"7391")

    run(test)
    said = caplog.text + "".join(capfd.readouterr())
    assert "7391" not in said
    assert "Traceback" not in said
