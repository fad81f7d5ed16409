"""The wire itself: a client written from the protocol document alone, and whatever else may knock."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
import threading

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwe, jwt
from joserfc.jwk import ECKey, KeySet
from starlette.requests import Request

from confide.broker.ca import CertificateAuthority
from confide.broker.client import KbsClient
from confide.broker.http import _address
from confide.broker.server import EmbeddedBroker
from confide.errors import BrokerUnavailable, BrokerUntrusted, MeasurementRefused

REQUEST = {"version": "0.1.1", "tee": "simulated", "extra-params": {}}
DEPLOYED = {
    "version": "0.4.0",
    "tee": "simulated",
    "extra-params": {"supported-hash-algorithms": ["SHA256", "SHA384", "SHA512"]},
}


@pytest.fixture
def http(broker):
    context = ssl.create_default_context(cadata=broker.ca_pem.decode())
    with httpx.Client(base_url=broker.url, verify=context, trust_env=False) as client:
        yield client


class DocumentClient:
    """The tiny client: KBS attestation protocol, sections Payloads and HTTP Integration, and nothing else."""

    def __init__(self, http, host):
        self.http, self.host = http, host
        self.key = ec.generate_private_key(ec.SECP256R1())

    request = REQUEST
    others = "{}"

    def auth(self):
        answer = self.http.post("/kbs/v0/auth", json=self.request)
        assert answer.status_code == 200, answer.text
        assert answer.headers["set-cookie"].startswith("kbs-session-id=")
        return answer.json()["nonce"]

    def attestation(self, nonce):
        jwk = ECKey(self.key, self.key).as_dict(private=False)
        pubkey = {"kty": "EC", "crv": "P-256", "alg": "ECDH-ES+A256KW", "x": jwk["x"], "y": jwk["y"]}
        runtime = {"nonce": nonce, "tee-pubkey": pubkey, "launch": {"args": "--year 2024"}}
        evidence = self.host.sign(self.report_data(runtime))
        return {
            "runtime-data": runtime,
            "tee-evidence": {"primary_evidence": evidence, "additional_evidence": self.others},
        }

    def report_data(self, runtime):
        canonical = json.dumps(runtime, sort_keys=True, separators=(",", ":")).encode()
        return hashlib.sha384(canonical).digest() + bytes(16)

    def attest(self, attestation):
        return self.http.post("/kbs/v0/attest", json=attestation)

    def open(self, answer):
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert set(body) == {"protected", "encrypted_key", "iv", "ciphertext", "tag"}
        header = json.loads(base64.urlsafe_b64decode(body["protected"] + "=="))
        assert (header["alg"], header["enc"]) == ("ECDH-ES+A256KW", "A256GCM")
        opened = jwe.decrypt_json(body, ECKey(self.key, self.key), algorithms=["ECDH-ES+A256KW", "A256GCM"])
        return json.loads(opened.plaintext)


class DeployedClient(DocumentClient):
    """What the implementations send: version 0.4.0, where the report data covers the evidence of other devices too."""

    request = DEPLOYED
    others = ""

    def report_data(self, runtime):
        return super().report_data({**runtime, "additional-evidence": self.others})


@pytest.fixture(params=[DocumentClient, DeployedClient])
def stranger(request, http, clinic):
    return request.param(http, clinic.host)


def test_a_client_written_from_the_document_gets_a_resource_by_cookie(stranger):
    assert stranger.attest(stranger.attestation(stranger.auth())).status_code == 200
    resource = stranger.open(stranger.http.get("/kbs/v0/resource/clinic/key/patients"))
    assert resource["versions"].keys() == {"1"}


def test_and_by_token(stranger):
    token = stranger.attest(stranger.attestation(stranger.auth())).json()["token"]
    stranger.http.cookies.clear()
    answer = stranger.http.get(
        "/kbs/v0/resource/confide/release/default", headers={"Authorization": f"Bearer {token}"}
    )
    assert stranger.open(answer)["workload"] == "study"


def test_the_token_is_an_ear_that_the_published_keys_verify(stranger, broker):
    token = stranger.attest(stranger.attestation(stranger.auth())).json()["token"]
    keys = KeySet.import_key_set(stranger.http.get("/confide/v1/jwks").json())
    claims = jwt.decode(token, keys, algorithms=["ES256"]).claims
    assert claims["iss"] == broker.url
    assert claims["exp"] - claims["iat"] == 300
    appraisal = claims["submods"]["cpu0"]
    assert appraisal["ear.status"] == "contraindicated"  # simulated hardware never affirms anything
    assert appraisal["ear.trustworthiness-vector"]["executables"] == 2
    assert claims["tee-pubkey"]["crv"] == "P-256"


def test_report_data_of_another_version_of_the_protocol(http, clinic):
    for client, request in ((DocumentClient, DEPLOYED), (DeployedClient, REQUEST)):
        stranger = client(http, clinic.host)
        stranger.request = request
        answer = stranger.attest(stranger.attestation(stranger.auth()))
        assert (answer.status_code, answer.json()["error"]) == (401, "AttestationRefused")


def test_evidence_of_other_devices_is_bound_and_none_is_taken(http, clinic):
    stranger = DeployedClient(http, clinic.host)
    attestation = stranger.attestation(stranger.auth())
    attestation["tee-evidence"]["additional_evidence"] = "{}"  # not what was signed
    assert stranger.attest(attestation).status_code == 401
    stranger.others = '{"sample":{}}'
    assert stranger.attest(stranger.attestation(stranger.auth())).status_code == 400


@pytest.mark.parametrize("algorithms", [[], ["sha256", "sha512"], ["sha-384"]])
def test_a_client_without_sha_384(http, algorithms):
    answer = http.post(
        "/kbs/v0/auth", json={**DEPLOYED, "extra-params": {"supported-hash-algorithms": algorithms}}
    )
    assert (answer.status_code, answer.json()["error"]) == (401, "AttestationRefused")


def test_our_client_speaks_as_the_implementations_do(broker, clinic, monkeypatch):
    """Without image and launch parameters, which are extensions, it sends what they do, member for member."""
    sent = []
    client = KbsClient(broker.url, broker.ca_pem)
    request = client._transport.request
    monkeypatch.setattr(client._transport, "request", lambda *each: sent.append(each) or request(*each))
    clinic.put_policy(clinic.policy(2).replace(b'launch = { args = "--year 20[0-9]{2}" }\n', b""), 2)
    client.attest("simulated", clinic.host.issue, {})
    client.close()
    auth, attest = (json.loads(body) for _, _, body, *_ in sent)
    assert (auth["version"], auth["tee"]) == ("0.4.0", "simulated")
    assert attest.keys() == {"runtime-data", "tee-evidence"}
    assert attest["runtime-data"].keys() == {"nonce", "tee-pubkey"}
    (evidence,) = clinic.host.issued
    assert attest["tee-evidence"] == {"primary_evidence": evidence, "additional_evidence": ""}
    canonical = json.dumps(
        {**attest["runtime-data"], "additional-evidence": ""}, sort_keys=True, separators=(",", ":")
    )
    statement = json.loads(base64.urlsafe_b64decode(evidence["payload"] + "=="))
    assert base64.b64decode(statement["report_data"])[:48] == hashlib.sha384(canonical.encode()).digest()


def test_nonce_of_another_session(stranger, http, clinic, broker):
    nonce = stranger.auth()
    http.cookies.clear()
    stranger.auth()
    answer = stranger.attest(stranger.attestation(nonce))
    assert (answer.status_code, answer.json()["error"]) == (401, "AttestationRefused")


def test_a_nonce_serves_once(stranger):
    attestation = stranger.attestation(stranger.auth())
    assert stranger.attest(attestation).status_code == 200
    assert stranger.attest(attestation).status_code == 401


def test_a_refused_attempt_uses_the_nonce_up(stranger):
    nonce = stranger.auth()
    good = stranger.attestation(nonce)
    bad = {**good, "tee-evidence": {**good["tee-evidence"], "primary_evidence": {}}}
    assert stranger.attest(bad).status_code == 401
    assert stranger.attest(good).status_code == 401


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("launch", "args"), "--year 2025"),
        (("launch", "more"), "x"),
        (("tee-pubkey", "x"), "A" * 43),
        (("tee-pubkey", "alg"), "RSA-OAEP"),
        (("nonce",), "AAAA"),
    ],
)
def test_runtime_data_changed_after_signing(stranger, path, value):
    attestation = stranger.attestation(stranger.auth())
    place = attestation["runtime-data"]
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    assert stranger.attest(attestation).status_code in (400, 401)


def test_without_session(http, clinic):
    http.cookies.clear()
    for headers in ({}, {"Authorization": "Bearer x.y.z"}, {"Cookie": "kbs-session-id=guess"}):
        answer = http.get("/kbs/v0/resource/confide/release/default", headers=headers)
        assert (answer.status_code, answer.json()["error"]) == (401, "AttestationRefused")
        assert answer.json()["type"].endswith("/AttestationError")
        assert http.post("/confide/v1/listings/commit", json={}, headers=headers).status_code == 401


def test_challenged_but_not_attested(stranger):
    stranger.auth()
    assert stranger.http.get("/kbs/v0/resource/confide/release/default").status_code == 401


def test_a_token_of_another_broker(stranger, tmp_path, clinic):
    token = stranger.attest(stranger.attestation(stranger.auth())).json()["token"]
    head, payload, signature = token.split(".")
    forged = f"{head}.{payload}.{signature[:-4]}AAAA"
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    stranger.http.cookies.clear()
    for bad in (forged, f"{none}.{payload}.", token + "A"):
        answer = stranger.http.get(
            "/kbs/v0/resource/confide/release/default", headers={"Authorization": f"Bearer {bad}"}
        )
        assert answer.status_code == 401


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"tee":"simulated"}',
        b'{"version":"1.0.0","tee":"simulated","extra-params":""}',
        b'{"version":"0.1.1","tee":"simulated","extra-params":{"a":"b"}}',
        b'{"version":"0.2.0","tee":"simulated","extra-params":""}',
        b'{"version":"0.4.0-rc1","tee":"simulated","extra-params":""}',
        b'{"version":"0.4.0","tee":"simulated","extra-params":{"supported-hash-algorithms":"sha384"}}',
        b'{"version":"0.4.0","tee":"simulated","extra-params":{"supported-hash-algorithms":["sha384"],"a":1}}',
        b'{"version":"0.1.1","tee":"simulated","extra-params":"","more":1}',
        b'{"version":"0.1.1","tee":1,"extra-params":""}',
        b"[" * 4000,
    ],
)
def test_malformed_requests(http, body):
    answer = http.post("/kbs/v0/auth", content=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "InvalidFormat")
    assert answer.json()["type"].endswith("/SerdeError")


@pytest.mark.parametrize("body", [b"", b"{}", b"nonsense", b'{"runtime-data":{},"tee-evidence":{}}'])
def test_malformed_attestations(http, stranger, body):
    stranger.auth()
    assert http.post("/kbs/v0/attest", content=body).status_code == 400


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("/kbs/v0/auth", 5_000),
        ("/kbs/v0/attest", 600_000),
        ("/confide/v1/owners/clinic/put-policy", 2_000_000),
    ],
)
def test_oversized_bodies(http, path, size):
    declared = http.post(path, content=b" " * size)
    assert (declared.status_code, declared.json()["error"]) == (400, "InvalidFormat")


def test_an_oversized_body_without_a_declared_length(http):
    def chunks():
        for _ in range(100):
            yield b" " * 1000

    try:
        assert http.post("/kbs/v0/auth", content=chunks()).status_code == 400
    except httpx.WriteError:
        pass  # cut off while still sending


def test_other_paths_and_methods(http):
    assert http.get("/").status_code == 404
    assert http.get("/kbs/v0/auth").status_code == 405
    assert http.post("/kbs/v0/resource/confide/release/default").status_code == 405
    assert http.get("/kbs/v0/resource/confide/../../etc").status_code == 404


def test_rate_limit_for_each_address(clinic):
    with EmbeddedBroker(clinic.store, allow_simulated=True, rate_per_s=0.001, burst=3) as broker:
        context = ssl.create_default_context(cadata=broker.ca_pem.decode())
        with httpx.Client(base_url=broker.url, verify=context, trust_env=False) as http:
            answers = [http.post("/kbs/v0/auth", json=REQUEST).status_code for _ in range(5)]
        client = KbsClient(broker.url, broker.ca_pem)
        with pytest.raises(BrokerUnavailable):
            client.attest("simulated", clinic.host.issue, {})
        client.close()
    assert answers == [200, 200, 200, 429, 429]


def test_what_an_attested_workload_asks_counts_too(clinic):
    """A genuine TEE that no policy names cannot fill the audit log with refusals."""
    clinic.host.measurement = "c" * 64
    with EmbeddedBroker(clinic.store, allow_simulated=True, rate_per_s=0.001, burst=3) as broker:
        client = KbsClient(broker.url, broker.ca_pem)
        session = client.attest("simulated", clinic.host.issue, {})
        for error in [MeasurementRefused] * 3 + [BrokerUnavailable] * 3:
            with pytest.raises(error):
                session.release()
        client.close()
    assert clinic.refusals() == ["MeasurementRefused"] * 3


def test_who_has_no_claims_takes_nothing_from_those_who_have(clinic):
    with EmbeddedBroker(clinic.store, allow_simulated=True, rate_per_s=0.001, burst=3) as broker:
        client = KbsClient(broker.url, broker.ca_pem)
        session = client.attest("simulated", clinic.host.issue, {"args": "--year 2024"})  # two requests
        context = ssl.create_default_context(cadata=broker.ca_pem.decode())
        with httpx.Client(base_url=broker.url, verify=context, trust_env=False) as http:
            nobody = ({}, {"Authorization": "Bearer x.y.z"}, {"Cookie": "kbs-session-id=x"})
            path = "/kbs/v0/resource/confide/release/default"
            answers = [http.get(path, headers=headers).status_code for headers in nobody]
        assert answers == [401, 429, 429]
        assert session.release().workload == "study"
        client.close()


@pytest.mark.parametrize(
    ("host", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_whom_a_request_is_counted_for(host, counted_as):
    """A client has as many IPv6 addresses as it likes, all of one network."""
    assert _address(Request({"type": "http", "client": (host, 1)})) == counted_as


@pytest.mark.parametrize("name", ["a" * 55_000, "%01" * 100, "Clinic", "clinic%2Fx", "-"])
def test_who_is_no_owner_is_not_in_the_audit_log(http, clinic, name):
    before = clinic.store.audit.size()
    answer = http.post(f"/confide/v1/owners/{name}/put-policy", json={})
    assert answer.status_code == 404
    assert clinic.store.audit.size() == before


def test_tls_below_1_3_is_refused(broker):
    context = ssl.create_default_context(cadata=broker.ca_pem.decode())
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    host, port = broker.url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port))) as raw,
        pytest.raises(ssl.SSLError),
        context.wrap_socket(raw, server_hostname=host),
    ):
        pass


def test_another_authority(broker, clinic):
    other = CertificateAuthority.create(1_700_000_000)
    client = KbsClient(broker.url, other.certificate_pem)
    with pytest.raises(BrokerUntrusted):
        client.attest("simulated", clinic.host.issue, {})
    client.close()
    assert not clinic.host.issued


def test_another_name(broker, clinic):
    port = broker.url.rpartition(":")[2]
    client = KbsClient(f"https://127.0.0.2:{port}", broker.ca_pem)
    with pytest.raises((BrokerUntrusted, BrokerUnavailable)):
        client.attest("simulated", clinic.host.issue, {})
    client.close()


def test_broker_down(clinic):
    with EmbeddedBroker(clinic.store, allow_simulated=True) as broker:
        client = KbsClient(broker.url, broker.ca_pem)
        session = client.attest("simulated", clinic.host.issue, {"args": "--year 2024"})
    with pytest.raises(BrokerUnavailable):
        session.release()
    with pytest.raises(BrokerUnavailable):
        client.attest("simulated", clinic.host.issue, {})
    client.close()


@pytest.fixture
def impostor():
    """A TLS server with a certificate of the right authority that does what `behave` says."""
    authority = CertificateAuthority.create(1_700_000_000)
    listeners = []

    def start(behave, tmp_path):
        leaf = tmp_path / "leaf.pem"
        import time

        leaf.write_bytes(authority.issue_leaf(["127.0.0.1"], int(time.time())))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(leaf)
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve():
            try:
                raw, _ = listener.accept()
                with context.wrap_socket(raw, server_side=True) as connection:
                    connection.recv(65536)
                    behave(connection)
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        return KbsClient(
            f"https://127.0.0.1:{listener.getsockname()[1]}", authority.certificate_pem, timeout_s=0.5
        )

    yield start
    for listener in listeners:
        listener.close()


def test_slow_broker(impostor, tmp_path):
    done = threading.Event()
    client = impostor(lambda _: done.wait(20), tmp_path)
    with pytest.raises(BrokerUnavailable):
        client.attest("simulated", dict, {})
    done.set()
    client.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{",
        b"not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nset-cookie: kbs-session-id=a\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nset-cookie: kbs-session-id=a\r\ncontent-length: 4\r\n\r\nnull",
        b"HTTP/1.1 302 Found\r\nlocation: https://elsewhere.example/\r\ncontent-length: 0\r\n\r\n",
        b'HTTP/1.1 500 Oops\r\ncontent-length: 22\r\n\r\n{"error": "SystemExit"}',
    ],
)
def test_broker_that_talks_nonsense(impostor, tmp_path, answer):
    client = impostor(lambda connection: connection.sendall(answer), tmp_path)
    with pytest.raises(BrokerUnavailable):
        client.attest("simulated", dict, {})
    client.close()


def test_the_private_key_of_the_certificate_is_in_no_file(broker, clinic, tmp_path):
    for file in tmp_path.rglob("*"):
        assert b"PRIVATE KEY" not in file.read_bytes()
