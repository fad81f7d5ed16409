"""`confide serve` and `confide serving`: what is refused before anything is built or asked."""

from __future__ import annotations

import hashlib
import json

import pytest

from confide.errors import Misuse, Unavailable
from confide.serving.configuration import Configuration


@pytest.mark.parametrize(
    "listen", ["8443", "127.0.0.1:", ":8443", "127.0.0.1:x", "127.0.0.1:65536", "0.0.0.0:8443", "[::]:1"]
)
def test_addresses_to_listen_on(clinic, listen):
    said = clinic("serve", "--tee", "simulated", "model.onnx", "--listen", listen)
    assert (said.code, listen in said.err) == (Misuse.exit_code, True)


@pytest.mark.parametrize("listen", ["8001", ":8001", "127.0.0.1:x", "0.0.0.0:8001"])
def test_addresses_to_listen_on_for_gRPC(clinic, listen):
    said = clinic("serve", "--tee", "simulated", "model.onnx", "--grpc-listen", listen)
    assert (said.code, listen in said.err) == (Misuse.exit_code, True)


@pytest.mark.parametrize(
    ("program", "configuration"),
    [("model.onnx", ""), ("serving.toml", "version = 1"), ("serving.toml", "plain_requests = false")],
)
def test_gRPC_is_served_only_where_the_owner_allows_plain_requests(clinic, program, configuration):
    (clinic.folder / program).write_text(configuration)
    said = clinic("serve", "--tee", "simulated", program, "--grpc-listen", "127.0.0.1:0")
    assert (said.code, "plain_requests" in said.err) == (Misuse.exit_code, True)


def test_a_model_that_is_not_there(clinic):
    said = clinic("serve", "--tee", "simulated", "model.onnx")
    assert (said.code, "model.onnx" in said.err) == (Misuse.exit_code, True)


def test_no_document_without_a_policy_or_such_a_workload(clinic):
    assert clinic("serving", "accept", "iris").code == Misuse.exit_code


def test_nobody_to_verify(clinic, tmp_path):
    document = tmp_path / "iris.toml"
    document.write_text(
        f'version = 1\ntee = "simulated"\nmeasurements = ["{"ab" * 32}"]\nhosts = ["{"A" * 43}="]\n'
        'requests = "clinic/pool"\n'
    )
    said = clinic("serving", "verify", "https://127.0.0.1:1", "--accept", str(document))
    assert said.code == Unavailable.exit_code
    assert (
        clinic("serving", "verify", "http://127.0.0.1:1", "--accept", str(document)).code == Misuse.exit_code
    )


def test_a_token_and_what_to_write_down(clinic):
    said = clinic("serving", "token", "ward-7")
    token = said.out.strip()
    digest = hashlib.sha256(token.encode()).hexdigest()
    assert said.code == 0
    assert said.err.splitlines()[-2:] == ["[client.ward-7]", f'token_sha256 = ["{digest}"]']
    written = f"version = 1\n{said.err.partition(':')[2]}".encode()
    assert Configuration.from_toml(written).client["ward-7"].token_sha256 == (digest,)
    both = json.loads(clinic("serving", "token", "a.b", "--json").out)
    assert both["token_sha256"] == hashlib.sha256(both["token"].encode()).hexdigest()
    assert both["token"] != token
    assert clinic("serving", "token", "a b").code == Misuse.exit_code
