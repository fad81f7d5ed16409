"""Models served by `confide serve`, in the clear for its clients alone."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
import numpy as np
import pytest
from cryptography import x509

from confide.broker.attested_leaf import read_extension
from confide.broker.ca import CertificateAuthority
from confide.errors import (
    AlreadyExists,
    AttestationRefused,
    FileChanged,
    MeasurementRefused,
    Misuse,
    Unavailable,
    UnknownKey,
)
from confide.serving import Client, InputQueue, OutputQueue
from confide.serving.client_transport import client_tls
from confide.serving.envelope import RequestContent, Target
from confide.serving.failures import InvalidRequest, NotKnown, Overloaded
from confide.serving.oip import write_request
from confide.serving.sealed import MEDIA_TYPE, seal_fresh

from ... import models
from ...unit.serving.collector import collecting
from .proxy import proxy

CANARY = 7391.25
X = np.array([[1, 2, 3, CANARY]], np.float32)
HERE = Path(__file__).parent


def eventually(holds, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "never happened"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def plain(owner):
    """Plain models, measured with the image; the owner's configuration allows plain requests."""
    models.scale(owner.folder / "scale.onnx")
    models.texts(owner.folder / "texts.onnx")
    configuration = 'version = 1\nmodels = ["scale.onnx", "texts.onnx"]\nplain_requests = true\n'
    (owner.folder / "open.toml").write_text(configuration)
    owner.allow("open.toml", "--logs", "clinic/logs")
    names = ("--name", "127.0.0.1", "--name", "localhost")
    serving = owner.serve("open.toml", *names, "--grpc-listen", "127.0.0.1:0")
    serving.accepted = owner.accept("open")
    return serving


@pytest.fixture(scope="module")
def authority(owner, plain):
    """The authority's file, as a client that verified the worker has it; beside it one of another, `other.pem`."""
    path = owner.folder / "ca.pem"
    said = owner.run("serving", "verify", plain.url, "--accept", str(plain.accepted))[1]
    path.write_text(said[said.index("-----BEGIN") :])
    other = CertificateAuthority.create(int(time.time()), "another").certificate_pem
    path.with_name("other.pem").write_bytes(other)
    return path


def check(program, *argv):
    command = [sys.executable, HERE / program, *argv]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "all as expected\n", done.stderr


def test_a_client_of_another_project(plain, authority):
    check("triton.py", plain.address, authority, str(CANARY))


def test_a_client_of_another_project_by_gRPC(plain, authority):
    check("triton_grpc.py", plain.grpc, authority, str(CANARY))


def test_gRPCs_own_clients_of_health_and_reflection(plain, authority):
    check("grpc_services.py", plain.grpc, authority)


def test_gRPC_shows_the_certificate_that_REST_shows(plain):
    host, port = plain.address.split(":")
    shown = ssl.get_server_certificate((host, int(port)))
    assert ssl.get_server_certificate((host, int(plain.grpc.split(":")[1]))) == shown
    assert read_extension(x509.load_pem_x509_certificate(shown.encode())).tee == "simulated"


def test_sealed_requests_pass_a_front_end_unread_and_plain_ones_do_not(plain):
    number = np.float32(CANARY).tobytes()
    with proxy(plain.address) as front:
        with Client(front.url, plain.accepted, proxy_ca=front.ca) as client:
            assert np.array_equal(client.infer("scale", {"x": X}).outputs["y"], 2 * X)
            with pytest.raises(InvalidRequest, match="'x'"):
                client.infer("scale", {"x": X[:, :3]})
        assert b"scale" in front.seen  # it sees the model's name
        assert number not in front.seen
        assert b"shape" not in front.seen
        front.seen.clear()
        body = write_request({"x": X}, [])
        with httpx.Client(verify=client_tls(front.ca), trust_env=False) as control:
            headers = {"inference-header-content-length": str(body.json_bytes)}
            answer = control.post(f"{front.url}/v2/models/scale/infer", content=body.data, headers=headers)
        assert answer.status_code == 200
        assert number in front.seen  # the control must leak


def test_tls_is_verified_against_what_the_evidence_says(plain):
    with proxy(plain.address) as front, pytest.raises(Unavailable, match="certificate"):
        Client(front.url, plain.accepted).infer("scale", {"x": X}, timeout_s=0.5)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('measurements = ["', 'measurements = ["' + "ab" * 32 + '"] # ["', "step 5: measurement"),
        ('requests = "clinic/pool"', 'requests = "clinic/models"', "step 7"),
        ("minimum_svn = 0", "minimum_svn = 1", "step 5: security version"),
        ('hosts = ["', 'hosts = ["' + "A" * 43 + '="] # ["', "not listed"),
    ],
)
def test_nothing_is_sent_to_a_worker_that_is_not_accepted(plain, tmp_path, old, new, reason):
    document = plain.accepted.read_text()
    assert old in document
    (tmp_path / "other.toml").write_text(document.replace(old, new))
    with pytest.raises(AttestationRefused, match=reason):
        Client(plain.url, tmp_path / "other.toml")


def test_a_swapped_plain_model_is_another_image(owner, plain):
    original = (owner.folder / "scale.onnx").read_bytes()
    try:
        models.scale(owner.folder / "scale.onnx", factor=3)
        code, said = owner.run("serve", "--tee", "simulated", "open.toml", "--listen", "127.0.0.1:0")
    finally:
        (owner.folder / "scale.onnx").write_bytes(original)
    assert code == MeasurementRefused.exit_code
    assert "scale.onnx" in said


def test_a_stopped_worker_ends_well_and_nothing_holds_a_payload(owner, plain):
    with Client(plain.url, plain.accepted) as client:
        client.infer("scale", {"x": X})
    assert plain.stop() == 0
    log = owner.ok("logs", "--last", "1")
    assert "model-ready" in log
    assert "7391" not in log + "".join(plain.said)
    found = subprocess.run(["grep", "-rlF", "7391.25", str(owner.folder)], capture_output=True, check=False)
    assert found.stdout == b""


@pytest.fixture(scope="module")
def sealed(owner):
    """Sealed models at models/iris; nothing is told in clear."""
    models.scale(owner.folder / "plain/scale.onnx")
    owner.ok("encrypt", "plain", "models/iris", "--as", "files", "--key", "clinic/models")
    (owner.folder / "closed.toml").write_text("version = 1\nrefresh_s = 1\n")
    owner.allow("closed.toml", "--read", "models/iris", "--logs", "clinic/logs")
    serving = owner.serve("closed.toml")
    serving.accepted = owner.accept("closed")
    return serving


def ask(client, model="scale"):
    return client.infer(model, {"x": X}).outputs["y"]


def test_a_sealed_model_answers_sealed_requests_alone(sealed):
    with Client(sealed.url, sealed.accepted) as client:
        assert np.array_equal(ask(client), 2 * X)
        assert client.metadata("scale")["inputs"][0]["name"] == "x"
        verify = client_tls(client.verify().authority_pem)
    with httpx.Client(verify=verify, base_url=sealed.url, trust_env=False) as http:
        assert http.get("/v2/health/ready").status_code == 200
        assert http.get("/v2/models/scale").headers["confide-error"] == "NotTaken"
        assert http.post("/v2/models/scale/infer", content=b"{}").headers["confide-error"] == "NotTaken"
        assert b"confide_serving_attested 1.0" in http.get("/metrics").content


def test_many_requests_under_a_ticket_padded(sealed):
    with Client(sealed.url, sealed.accepted, ticket=True, padded=True) as client:
        for _ in range(20):
            assert np.array_equal(ask(client), 2 * X)


def test_inputs_wait_in_a_queue_and_results_under_their_names(sealed):
    with (
        Client(sealed.url, sealed.accepted) as client,
        InputQueue(client, "scale", max_waiting=7) as requests,
    ):
        results = OutputQueue(requests)
        for number in range(5):
            requests.enqueue(f"row-{number}", x=X * number)
        requests.enqueue("row-1", x=X)  # once more: the same
        requests.enqueue("wrong", x=X[:, :3])
        with pytest.raises(AlreadyExists):
            requests.enqueue("row-1", x=2 * X)
        eventually(lambda: len(requests._done()) == 6)
        assert np.array_equal(results.query("row-1")["y"], 2 * X)
        assert np.array_equal(results.query_and_delete("row-1")["y"], 2 * X)
        assert results.query("row-1") is None
        assert results.query("never") is None
        with pytest.raises(InvalidRequest, match="'x'"):
            results.query("wrong")
        assert np.array_equal(requests.predict(x=X)["y"], 2 * X)
        found = results.dequeue()
        assert isinstance(found.pop("wrong"), InvalidRequest)
        assert {uri: int(outputs["y"][0, 0]) for uri, outputs in found.items()} == {
            "row-0": 0,
            "row-2": 4,
            "row-3": 6,
            "row-4": 8,
        }
        assert results.dequeue() == {}
        for number in range(7):
            requests.enqueue(f"more-{number}", x=X)
        with pytest.raises(Overloaded):
            requests.enqueue("one too many", x=X)


def test_models_come_and_go_by_the_owners_word(owner, sealed):
    with Client(sealed.url, sealed.accepted) as client:
        models.scale(owner.folder / "plain/many/2/model.onnx", factor=5)
        encrypt = ("encrypt", "plain", "models/iris", "--as", "files", "--key", "clinic/models", "--replace")
        owner.ok(*encrypt)

        def answers():
            try:
                return np.array_equal(ask(client, "many"), 5 * X)
            except Unavailable:
                return False

        eventually(answers)
        assert client.infer("many", {"x": X}, version="2").version == "2"
        assert np.array_equal(ask(client), 2 * X)
        (owner.folder / "plain/many/2/model.onnx").unlink()
        owner.ok(*encrypt)
        eventually(lambda: not answers())


def test_the_pool_key_rotates_under_its_clients(owner, sealed):
    with (
        Client(sealed.url, sealed.accepted) as client,
        Client(sealed.url, sealed.accepted, ticket=True) as other,
    ):
        ask(client), ask(other)
        old = client.verify().key
        owner.ok("key", "rotate", "clinic/pool")
        eventually(lambda: client.verify().key.version.version == 2)
        assert np.array_equal(ask(other), 2 * X)  # its version still lives
        owner.ok("key", "revoke", "clinic/pool", "--version", "1", "--yes")
        content = RequestContent(write_request({"x": X}, []), int(time.time() * 1000) + 20_000)

        def refused():
            data, _ = seal_fresh(content, Target("infer", "scale"), old)
            verify = client_tls(client.verify().authority_pem)
            with httpx.Client(verify=verify, trust_env=False) as http:
                answer = http.post(
                    f"{sealed.url}/v2/models/scale/infer", content=data, headers={"content-type": MEDIA_TYPE}
                )
            return answer.headers.get("confide-error") == UnknownKey.__name__

        eventually(refused)
        assert np.array_equal(ask(other), 2 * X)  # verified again, sealed to the new one


def test_a_worker_killed_under_load_loses_no_request(owner, sealed):
    answered, stop = [], threading.Event()

    def load(client):
        while not stop.is_set():
            answered.append(
                np.array_equal(client.infer("scale", {"x": X}, timeout_s=120.0).outputs["y"], 2 * X)
            )

    with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
        clients = [stack.enter_context(Client(sealed.url, sealed.accepted, ticket=n == 0)) for n in range(3)]
        running = [pool.submit(load, client) for client in clients]
        try:
            eventually(lambda: len(answered) > 30)
            sealed.process.kill()
            sealed.process.wait()
            before = len(answered)
            owner.serve("closed.toml", "--listen", sealed.address)
            eventually(lambda: len(answered) > before + 30)
        finally:
            stop.set()
        for each in running:
            each.result()
    assert all(answered)


def test_clients_that_are_known_and_traces_of_what_they_ask(owner):
    models.scale(owner.folder / "scale.onnx")
    made = json.loads(owner.ok("serving", "token", "ward", "--json"))
    with collecting() as collector:
        (owner.folder / "known.toml").write_text(
            f'''version = 1
            models = ["scale.onnx"]
            [client.ward]
            token_sha256 = ["{made["token_sha256"]}"]
            [traces]
            endpoint = "{collector.url}"
            authority = """{collector.authority.certificate_pem.decode()}"""'''
        )
        owner.allow("known.toml")
        serving = owner.serve("known.toml")
        accepted = owner.accept("known")
        with Client(serving.url, accepted, token=made["token"]) as client:
            assert client.infer("scale", {"x": X}).outputs["y"].tolist() == (2 * X).tolist()
        with Client(serving.url, accepted) as client, pytest.raises(NotKnown):
            client.infer("scale", {"x": X})
        assert serving.stop() == 0
    spans = [(span.name, said.get("confide.status")) for span, said in collector.spans()]
    # Of the one who is not known, nothing: they could say whose trace it belongs to.
    assert sorted(spans, key=str) == [("batch", None), ("infer", 200), ("queue", None)]


def test_gRPC_is_not_served_where_requests_must_be_sealed(owner, sealed):
    code, said = owner.run("serve", "--tee", "simulated", "closed.toml", "--grpc-listen", "127.0.0.1:0")
    assert code == Misuse.exit_code
    assert "plain_requests" in said


def test_a_swapped_sealed_model_is_refused(owner):
    (path,) = (owner.folder / "models/iris").glob("*.onnx")
    original = path.read_bytes()
    try:
        path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        code, said = owner.run("serve", "--tee", "simulated", "closed.toml", "--listen", "127.0.0.1:0")
    finally:
        path.write_bytes(original)
    assert code in (FileChanged.exit_code, 90), said
    assert "does not authenticate" in said or "changed" in said or "sealed log" in said


def test_a_withdrawn_policy_ends_the_serving(owner):
    third = owner.serve("closed.toml")
    policy = owner.folder / "policy.toml"
    text = policy.read_text()
    serial = next(int(line.split("=")[1]) for line in text.splitlines() if line.startswith("serial"))
    start = text.index('name = "closed"')
    measurement = text.index('measurements = ["', start) + len('measurements = ["')
    withdrawn = text[:measurement] + "ab" * 32 + text[measurement + 64 :]
    policy.write_text(withdrawn.replace(f"serial = {serial}", f"serial = {serial + 1}"))
    owner.ok("policy", "apply", "policy.toml")
    assert third.process.wait(60) == MeasurementRefused.exit_code
