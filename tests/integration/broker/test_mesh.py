"""Members of jobs: certificates from a real broker over HTTPS, and mutual TLS 1.3 between those who hold them."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import replace

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import CertificateSigningRequestBuilder, Name

from confide.broker.ca import CertificateAuthority
from confide.broker.client import KbsClient
from confide.broker.mesh import Job
from confide.broker.mesh_certificate import Member, issue_member, job_authority
from confide.broker.mesh_member import MeshIdentity, join_mesh
from confide.broker.server import EmbeddedBroker
from confide.broker.tls import load_chain
from confide.errors import (
    AttestationRefused,
    InvalidFormat,
    MeasurementRefused,
    NoGrant,
    RevokedKey,
    Tampered,
    Unavailable,
)
from confide.keys.names import KeyName

from ...mesh import tls_server

LAUNCH = {"args": "--year 2024"}
EXECUTOR = """[[workload]]
name = "study"
tee = "simulated"
role = "executor"
measurements = ["{measurement}"]
logs = "clinic/logs"
"""
CENSUS = """[[workload]]
name = "census"
tee = "simulated"
measurements = ["{0}"]
[[workload]]
name = "census"
tee = "simulated"
role = "executor"
measurements = ["{1}"]
[[grant]]
workload = "census"
location = "census"
access = "write"
format = "table"
key = "clinic/results"
"""
E, C, CE = "e" * 64, "c" * 64, "d" * 64


@pytest.fixture
def cluster(clinic, client, broker):
    return Cluster(clinic, client, broker)


class Cluster:
    """What starts members, as an operator would."""

    def __init__(self, clinic, client, broker):
        self.clinic, self.client, self.broker = clinic, client, broker
        self.allow()

    def allow(self, serial=2, executor=E):
        policy = self.clinic.policy(serial).decode() + EXECUTOR.format(measurement=executor)
        self.clinic.put_policy((policy + CENSUS.format(C, CE)).encode(), serial)

    def attest(self, measurement, role, launch):
        host = replace(self.clinic.host, measurement=measurement, role=role)
        return self.client.attest("simulated", host.issue, launch)

    def driver(self, measurement="a" * 64) -> MeshIdentity:
        session = self.attest(measurement, "driver", LAUNCH)
        return join_mesh(session, self.broker.ca_pem, "driver", session.release())

    def executor(self, job, measurement=E, **launch) -> MeshIdentity:
        session = self.attest(measurement, "executor", {"mesh_job": job, **launch})
        return join_mesh(session, self.broker.ca_pem, "executor", job)


def talk(server, client_context, hostname):
    """Let a client in over TCP on loopback; return who it is, and what it hears.

    Args:
        server: the identity of the one who listens; it answers a peer of its job with the peer's role.
        client_context: of the one who connects.
        hostname: by which it calls the server.

    Raises:
        AttestationRefused: the server does not take the client for a member.
        OSError: a handshake fails; what each side says is in the text.
    """
    outcome = []

    def serve(listener):
        try:
            with closing(listener.accept()[0]) as plain:
                plain.settimeout(20)
                with tls_server(server).wrap_socket(plain, server_side=True) as connection:
                    peer = server.check_peer(connection.getpeercert(True))
                    connection.sendall(peer.role.encode())
                    outcome.append((peer, connection.version()))
        except (OSError, AttestationRefused) as error:
            outcome.append(error)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        heard = b""
        failure = None
        try:
            plain = socket.create_connection(listener.getsockname(), 20)
            with client_context.wrap_socket(plain, server_hostname=hostname) as connection:
                while data := connection.recv(
                    100
                ):  # TLS 1.3: that the server refuses shows at the first read
                    heard += data
        except OSError as error:
            failure = error
        finally:
            thread.join(20)
    (found,) = outcome
    if isinstance(found, AttestationRefused):
        assert heard == b""
        raise found
    if failure is not None or isinstance(found, Exception):
        raise OSError(f"client: {failure}; server: {found}")
    return (*found, heard)


def test_two_members_speak_mutual_tls(cluster):
    driver = cluster.driver()
    executor = cluster.executor(driver.member.job)
    assert talk(driver, executor.tls_client(), driver.member.host) == (
        executor.member,
        "TLSv1.3",
        b"executor",
    )
    assert talk(executor, driver.tls_client(), executor.member.host) == (
        driver.member,
        "TLSv1.3",
        b"driver",
    )
    another = cluster.executor(driver.member.job)
    assert talk(executor, another.tls_client(), executor.member.host)[0] == another.member


def test_every_certificate_is_in_the_audit_log(cluster):
    driver = cluster.driver()
    executor = cluster.executor(driver.member.job)
    entries = cluster.clinic.store.audit.entries(kind="mesh-certificate")
    assert [entry.fields["uri"] for entry in entries] == [driver.member.uri, executor.member.uri]
    assert entries[1].fields["serial"] == f"{executor.certificate.serial_number:x}"
    cluster.clinic.store.audit.verify()


# members of another job


def test_the_members_of_a_job_share_a_secret(cluster):
    driver, other = cluster.driver(), cluster.driver()
    assert cluster.executor(driver.member.job).secret == driver.secret
    assert other.secret != driver.secret


def strangers(cluster):
    """Members of other jobs, of this workload and another, who would take this job's members for their own."""
    other = cluster.driver()
    return other, cluster.executor(other.member.job), cluster.driver(C)


def test_a_member_of_another_job_is_refused(cluster):
    one = cluster.driver()
    for stranger in strangers(cluster):
        trusting = replace(stranger, authority=one.authority)
        with pytest.raises(OSError, match=r"server: .*CERTIFICATE_VERIFY_FAILED"):
            talk(one, trusting.tls_client(), one.member.host)


def test_a_server_of_another_job_or_role_is_refused(cluster):
    one = cluster.driver()
    executor = cluster.executor(one.member.job)
    for stranger in strangers(cluster):
        with pytest.raises(OSError, match=r"client: .*CERTIFICATE_VERIFY_FAILED"):
            talk(replace(stranger, authority=one.authority), executor.tls_client(), stranger.member.host)
    with pytest.raises(OSError, match=r"client: .*Hostname mismatch"):
        talk(executor, executor.tls_client(), one.member.host)


# who is no member at all


def test_a_client_without_a_certificate(cluster):
    driver = cluster.driver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with pytest.raises(OSError, match=r"server: .*PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        talk(driver, context, None)


def test_old_tls(cluster):
    driver = cluster.driver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError, match=r"server: .*UNSUPPORTED_PROTOCOL"):
        talk(driver, context, None)


def forged(member, authority, now=None):
    """Return a certificate that no broker decided about, valid for an hour from `now` (Unix seconds)."""
    now = now or int(time.time())
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = issue_member(authority, key.public_key(), member, now, now + 3600)
    return MeshIdentity(member, key, certificate, authority.certificate, "0" * 64)


def test_an_authority_of_the_same_name(cluster):
    driver = cluster.driver()
    stranger = forged(driver.member, job_authority(driver.member.job, int(time.time())))
    trusting = replace(stranger, authority=driver.authority)
    with pytest.raises(OSError, match=r"server: .*CERTIFICATE_VERIFY_FAILED"):
        talk(driver, trusting.tls_client(), driver.member.host)
    with pytest.raises(OSError, match=r"client: .*CERTIFICATE_VERIFY_FAILED"):
        talk(trusting, driver.tls_client(), driver.member.host)


def test_the_broker_s_own_authority_makes_no_members(cluster):
    driver = cluster.driver()
    authority = CertificateAuthority.of(cluster.clinic.store)
    trusting = replace(forged(driver.member, authority), authority=driver.authority)
    with pytest.raises(OSError, match=r"server: .*CERTIFICATE_VERIFY_FAILED"):
        talk(driver, trusting.tls_client(), driver.member.host)


def test_a_member_is_no_authority(cluster):
    """Whoever holds a member's key cannot make certificates of other members with it."""
    driver = cluster.driver()
    executor = cluster.executor(driver.member.job)
    made = forged(driver.member, CertificateAuthority(executor.certificate, executor.key))
    trusting = replace(made, authority=driver.authority)
    context = trusting.tls_client()
    load_chain(context, chain_pem(trusting, executor))
    with pytest.raises(OSError, match=r"server: .*CERTIFICATE_VERIFY_FAILED"):
        talk(driver, context, driver.member.host)


def chain_pem(identity, issuer):
    secret = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain = [identity.certificate, issuer.certificate]
    return secret + b"".join(each.public_bytes(Encoding.PEM) for each in chain)


@pytest.mark.parametrize("begins", [-7200, 7200])
def test_a_certificate_that_is_not_valid_now(cluster, begins):
    driver = cluster.driver()
    stored = Job.model_validate_json(cluster.clinic.store.job(driver.member.job))
    authority = CertificateAuthority.from_pem(stored.authority.encode())
    stale = forged(driver.member, authority, int(time.time()) + begins)
    stale = replace(stale, authority=driver.authority)
    with pytest.raises(OSError, match=r"server: .*CERTIFICATE_VERIFY_FAILED"):
        talk(driver, stale.tls_client(), driver.member.host)


# what the broker refuses


def test_an_executor_of_no_job(cluster):
    with pytest.raises(NoGrant):
        cluster.executor("0" * 32)
    session = cluster.attest(E, "executor", {})
    with pytest.raises(NoGrant):
        join_mesh(session, cluster.broker.ca_pem, "executor", session.release())
    assert "step 3" in cluster.clinic.store.audit.entries(kind="refusal")[-1].fields["detail"]


def test_an_executor_that_has_joined_already(cluster):
    job, other = cluster.driver().member.job, cluster.driver().member.job
    cluster.executor(job, mesh_member="7")
    with pytest.raises(NoGrant):
        cluster.executor(job, mesh_member="7")
    cluster.executor(job, mesh_member="8")
    cluster.executor(other, mesh_member="7")


def test_a_hundred_executors_at_once(cluster):
    driver = cluster.driver()
    with ThreadPoolExecutor(100) as pool:
        joining = [
            pool.submit(cluster.executor, driver.member.job, mesh_member=str(n)) for n in range(1, 101)
        ]
        members = [each.result() for each in joining]
    assert {member.member for member in members} == {replace(driver.member, role="executor")}
    assert len({member.certificate.serial_number for member in members}) == 100
    assert sorted(cluster.clinic.store.members(driver.member.job), key=int) == [str(n) for n in range(1, 101)]


def test_an_executor_finds_its_driver_and_takes_nobody_else_for_it(cluster):
    driver = cluster.driver()
    executor = cluster.executor(driver.member.job)
    with listening(driver) as address:
        executor.require_driver(address)
    for stranger in (*strangers(cluster), cluster.executor(driver.member.job)):
        with listening(stranger) as address, pytest.raises(AttestationRefused):
            executor.require_driver(address)
    with pytest.raises(Unavailable):
        executor.require_driver(address)  # nobody listens there now


def test_a_driver_that_is_just_ending_is_no_stranger(cluster):
    executor = cluster.executor(cluster.driver().member.job)

    def close(listener):
        listener.accept()[0].close()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=close, args=(listener,))
        thread.start()
        with pytest.raises(Unavailable):
            executor.require_driver(f"127.0.0.1:{listener.getsockname()[1]}")
        thread.join(20)


@contextmanager
def listening(identity):
    """Show the identity's certificate to one who connects, as Spark does: it asks for none."""

    def serve(listener):
        context = tls_server(identity, mutual=False)
        with suppress(OSError), listener.accept()[0] as plain:
            context.wrap_socket(plain, server_side=True).close()

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        thread.join(20)


def test_an_executor_of_another_workload(cluster):
    job = cluster.driver().member.job
    with pytest.raises(NoGrant):
        cluster.executor(job, CE)


def test_a_driver_that_names_a_job(cluster):
    job = cluster.driver().member.job
    session = cluster.attest("a" * 64, "driver", {**LAUNCH, "mesh_job": job})
    with pytest.raises(NoGrant):
        join_mesh(session, cluster.broker.ca_pem, "driver", session.release())


def test_a_withdrawn_measurement(cluster):
    """A token is good for five minutes; the policies are those of now."""
    job = cluster.driver().member.job
    session = cluster.attest(E, "executor", {"mesh_job": job})
    session.release()
    cluster.allow(3, executor="9" * 64)
    with pytest.raises(MeasurementRefused):
        join_mesh(session, cluster.broker.ca_pem, "executor", job)


def test_a_revoked_key(cluster):
    job = cluster.driver().member.job
    session = cluster.attest(E, "executor", {"mesh_job": job})
    session.release()
    cluster.clinic.store.revoke_key(KeyName("clinic", "results"))
    with pytest.raises(RevokedKey):
        join_mesh(session, cluster.broker.ca_pem, "executor", job)


def csr():
    key = ec.generate_private_key(ec.SECP256R1())
    request = CertificateSigningRequestBuilder().subject_name(Name([])).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM)


def test_a_stolen_token_gives_nothing_that_can_be_read(cluster):
    victim, thief = (cluster.attest("a" * 64, "driver", LAUNCH) for _ in range(2))
    thief._token = victim._token
    with pytest.raises(Tampered):
        thief.mesh_certificate(csr())


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer x"}, {"Authorization": "Bearer x.y.z"}, {"Cookie": "kbs-session-id=x"}],
)
def test_without_attestation(cluster, headers):
    answer = post(cluster, json.dumps({"csr": csr().decode()}).encode(), headers)
    assert (answer.status_code, answer.json()["error"]) == (401, "AttestationRefused")


def test_a_token_of_another_broker_of_this_store(cluster):
    with EmbeddedBroker(cluster.clinic.store, allow_simulated=True) as second:
        other = KbsClient(second.url, second.ca_pem)
        headers = other.attest("simulated", cluster.clinic.host.issue, LAUNCH)._token
        other.close()
    assert post(cluster, b"{}", headers).status_code == 401


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * 16 * 1024, b"x" * (16 * 1024 + 1), b'{"csr": "x"}'])
def test_bodies_that_are_no_requests(cluster, body):
    session = cluster.attest("a" * 64, "driver", LAUNCH)
    answer = post(cluster, body, session._token)
    assert (answer.status_code, answer.json()["error"]) == (400, InvalidFormat.__name__)


def test_only_posts(cluster):
    session = cluster.attest("a" * 64, "driver", LAUNCH)
    with pytest.raises(Exception, match="bad request"):
        session._transport.request("GET", "/confide/v1/mesh/certificate", None, session._token)


def post(cluster, body, headers):
    context = ssl.create_default_context(cadata=cluster.broker.ca_pem.decode())
    with httpx.Client(verify=context, trust_env=False) as client:
        return client.post(f"{cluster.broker.url}/confide/v1/mesh/certificate", content=body, headers=headers)


def test_members_have_different_names(cluster):
    driver = cluster.driver()
    executor = cluster.executor(driver.member.job)
    assert {driver.member.host, executor.member.host} == {
        f"{role}.{driver.member.job}.confide.internal" for role in ("driver", "executor")
    }
    assert Member.of(driver.certificate).uri != Member.of(executor.certificate).uri
