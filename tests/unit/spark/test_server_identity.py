"""Servers' evidence, and which servers a client accepts."""

from __future__ import annotations

import base64
import socket
import ssl
import threading

import pytest
from cryptography import x509

from confide.attestation.evidence import StatedImage
from confide.broker.accepted_document import accepted_document
from confide.broker.accepted_server import AcceptedServer
from confide.broker.attested_leaf import evidence_extension
from confide.broker.ca import CertificateAuthority
from confide.broker.policy import parse_policy
from confide.broker.tls import load_chain
from confide.enclave.attester import OwnEvidence
from confide.enclave.simulated.issuer import SimulatedIssuer
from confide.errors import AttestationRefused, InvalidFormat, Misuse, Unavailable
from confide.keys.signing import generate_signing_key, raw_public
from confide.spark.server_identity import (
    accepted_servers,
    make_chain,
    shown_chain,
    verify_at,
    verify_spark_server,
)

NOW = 1_800_000_000
MEASUREMENT, OTHER = "ab" * 32, "cd" * 32
HOST = generate_signing_key()


def own_evidence(measurement=MEASUREMENT, host=HOST, role="driver", svn=1):
    image = StatedImage(measurement=measurement, role=role, svn=svn)
    issuer = SimulatedIssuer(host, image)
    return OwnEvidence("simulated", image, lambda runtime: issuer.issue(runtime.report_data()))


def shown(pem):
    return x509.load_pem_x509_certificates(pem[pem.index(b"-----BEGIN CERTIFICATE") :])


def chain(**image):
    return shown(make_chain(own_evidence(**image), ["127.0.0.1"], NOW))


def of_another_kind():
    """Evidence of the very image, for another kind of certificate."""
    evidence, authority = own_evidence(), CertificateAuthority.create(NOW)

    def attest(key, fingerprint):
        return evidence_extension(key, fingerprint, evidence.tee, evidence.attester, evidence.image, "other")

    return shown(authority.issue_leaf(["127.0.0.1"], NOW, attest) + authority.certificate_pem)


def plain():
    authority = CertificateAuthority.create(NOW)
    return shown(authority.issue_leaf(["127.0.0.1"], NOW) + authority.certificate_pem)


def accepted(host=HOST, **changed):
    key = base64.b64encode(raw_public(host.public_key())).decode()
    document = {"version": 1, "tee": "simulated", "measurements": (MEASUREMENT,), "hosts": (key,)}
    return AcceptedServer.model_validate(document | changed)


def test_an_accepted_server():
    leaf, authority = chain()
    found = verify_spark_server(leaf, authority, accepted(), None, NOW)
    assert found.claims.measurement == MEASUREMENT
    assert x509.load_pem_x509_certificate(found.authority_pem) == authority


@pytest.mark.parametrize(
    ("certificates", "document", "reason"),
    [
        (chain(measurement=OTHER), None, "step 5: measurement"),
        (chain(role="executor"), None, "step 5.*executor"),
        (chain(host=generate_signing_key()), None, "not listed"),
        (chain(), accepted(minimum_svn=2), "step 5: security version"),
        (chain(), accepted(measurements=(OTHER,)), "step 5: measurement"),
        (chain(), accepted(host=generate_signing_key()), "not listed"),
        (chain(), accepted(tee="snp", hosts=()), "step 2: evidence of the TEE simulated"),
        ([chain()[0], chain()[1]], None, "step 4"),
        ([chain()[1], chain()[1]], None, "step 1"),
        (plain(), None, "step 1"),
        (of_another_kind(), None, "nonce"),
    ],
)
def test_no_accepted_server(certificates, document, reason):
    with pytest.raises(AttestationRefused, match=reason):
        verify_spark_server(*certificates, document or accepted(), None, NOW)


@pytest.mark.parametrize("now", [NOW - 3600, NOW + 91 * 24 * 3600])
def test_a_certificate_outside_its_validity(now):
    with pytest.raises(AttestationRefused, match="step 1"):
        verify_spark_server(*chain(), accepted(), None, now)


@pytest.fixture
def listening():
    """Return the address of a server that shows a PEM."""
    listeners = []

    def start(pem, newest=ssl.TLSVersion.TLSv1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = newest
        load_chain(context, pem)
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve():
            connection, _ = listener.accept()
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()

    yield start
    for listener in listeners:
        listener.close()


def test_the_certificates_come_with_the_handshake(listening):
    pem = make_chain(own_evidence(), ["127.0.0.1"], NOW)
    assert list(shown_chain(*listening(pem))) == shown(pem)


def test_a_server_that_shows_its_certificate_alone_is_refused(listening):
    pem = make_chain(own_evidence(), ["127.0.0.1"], NOW)
    alone = pem[: pem.rindex(b"-----BEGIN CERTIFICATE")]
    with pytest.raises(AttestationRefused, match="step 1"):
        shown_chain(*listening(alone))


def test_older_tls_is_not_spoken(listening):
    pem = make_chain(own_evidence(), ["127.0.0.1"], NOW)
    with pytest.raises(Unavailable):
        shown_chain(*listening(pem, ssl.TLSVersion.TLSv1_2))


@pytest.mark.parametrize(
    "url", ["127.0.0.1:15002", "http://127.0.0.1:1", "sc://", "sc://127.0.0.1:x", "jdbc:mysql://h:1", ""]
)
def test_what_is_no_url_of_a_server(url):
    with pytest.raises(Misuse):
        verify_at(url, accepted())


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(Unavailable):
        verify_at(f"jdbc:hive2://127.0.0.1:{port}/default", accepted())


POLICY = f"""version = 1
owner = "clinic"
serial = 3
not_before = 2026-11-22T00:00:00Z
not_after = 2027-11-22T00:00:00Z
[[workload]]
name = "analysts"
tee = "simulated"
measurements = ["{MEASUREMENT}"]
requests = "clinic/analysts"
"""


def test_the_document_that_a_policy_gives(tmp_path):
    hosts = [raw_public(HOST.public_key())]
    text = accepted_document(parse_policy(POLICY.encode()), "analysts", hosts, [], AcceptedServer)
    path = tmp_path / "analysts.accept.toml"
    path.write_text(text)
    assert accepted_servers(path) == accepted()


def test_documents_that_do_not_read(tmp_path):
    with pytest.raises(Misuse):
        accepted_servers(tmp_path / "missing")
    (tmp_path / "other").write_text("version = 1")
    with pytest.raises(InvalidFormat):
        accepted_servers(tmp_path / "other")
