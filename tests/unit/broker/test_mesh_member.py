"""A workload holds a broker's answer against what it asked for, and a peer's certificate against its own."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from confide.broker.ca import CertificateAuthority
from confide.broker.mesh_certificate import Member, issue_member, job_authority, job_of, requested_key
from confide.broker.mesh_member import join_mesh
from confide.broker.release import Release
from confide.errors import AttestationRefused, BrokerUntrusted

NOW = int(time.time())
BROKER = CertificateAuthority.create(NOW)
MESH = job_authority("1" * 32, NOW)
RELEASE = Release(workload="study", owners=("clinic",), keys={}, grants=(), expires=NOW + 3600)
JOB, SECRET = "1" * 32, "5" * 64
EXECUTOR = Member(BROKER.fingerprint, JOB, "executor")


class Answers:
    """A session whose broker issues a certificate for `member`, unless something of it is changed."""

    def __init__(self, member=EXECUTOR, authority=MESH, key=None, now=NOW, lifetime_s=3600, **said):
        self.member, self.authority, self.key = member, authority, key
        self.now, self.lifetime_s, self.said = now, lifetime_s, said

    def mesh_certificate(self, csr):
        key = self.key.public_key() if self.key else requested_key(csr.decode())
        member = self.member(key) if callable(self.member) else self.member
        issued = issue_member(self.authority, key, member, self.now, self.now + self.lifetime_s)
        pem = issued.public_bytes(Encoding.PEM).decode()
        return json.dumps(
            {
                "certificate": pem,
                "authority": self.authority.certificate_pem.decode(),
                "secret": SECRET,
                **self.said,
            }
        ).encode()


class Says:
    def __init__(self, answer):
        self.answer = answer

    def mesh_certificate(self, csr):
        return self.answer


def join(session, role="executor", job=JOB):
    return join_mesh(session, BROKER.certificate_pem, role, job or RELEASE)


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def driver(key, job=None):
    return Member(BROKER.fingerprint, job or job_of(key, RELEASE), "driver")


def test_an_answer_that_is_right():
    identity = join(Answers())
    assert identity.member == EXECUTOR
    assert identity.certificate.public_key() == identity.key.public_key()
    assert "key" not in repr(identity)


def test_a_driver_knows_its_job_itself():
    identity = join(Answers(driver), "driver", None)
    assert identity.member.job == job_of(identity.key.public_key(), RELEASE)
    with pytest.raises(BrokerUntrusted, match="step 4"):
        join(Answers(lambda key: driver(key, JOB)), "driver", None)


@pytest.mark.parametrize(
    "changed", [{"workload": "census"}, {"owners": ("bank",)}, {"owners": ("bank", "clinic")}]
)
def test_a_job_is_of_one_workload_and_its_owners(changed):
    key = new_key().public_key()
    assert job_of(key, RELEASE.model_copy(update=changed)) != job_of(key, RELEASE)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{}",
        b"null",
        b"\xff",
        b'{"certificate": "", "authority": ""}',
        json.dumps({"certificate": "x" * 20_000, "authority": ""}).encode(),
        json.dumps({"certificate": 1, "authority": MESH.certificate_pem.decode(), "secret": SECRET}).encode(),
    ],
)
def test_answers_that_are_none(answer):
    with pytest.raises(BrokerUntrusted, match="step 1"):
        join(Says(answer))


@pytest.mark.parametrize("secret", ["", "5" * 63, "A" * 64, None])
def test_a_secret_that_is_none(secret):
    with pytest.raises(BrokerUntrusted, match="step 1"):
        join(Answers(secret=secret))


def test_the_secret_is_in_no_text():
    assert SECRET not in repr(join(Answers()))


def test_an_unknown_field():
    with pytest.raises(BrokerUntrusted, match="step 1"):
        join(Answers(role="driver"))


@pytest.mark.parametrize(
    "session",
    [
        Answers(now=NOW - 7200),
        Answers(now=NOW + 3600),
        Answers(lifetime_s=-60),
    ],
)
def test_a_certificate_that_is_not_valid_now(session):
    with pytest.raises(BrokerUntrusted, match="step 2"):
        join(session)


def test_a_certificate_of_another_authority():
    other = job_authority(JOB, NOW)
    session = Answers()
    session.said = {"authority": other.certificate_pem.decode()}
    with pytest.raises(BrokerUntrusted, match="step 2"):
        join(session)


def test_an_authority_that_is_none():
    """A member cannot play the authority of others."""
    one = join(Answers())
    session = Answers(authority=CertificateAuthority(one.certificate, one.key))
    with pytest.raises(BrokerUntrusted, match="step 2"):
        join(session)


def test_a_broker_s_certificate():
    pem = BROKER.issue_leaf(["localhost"], NOW)
    leaf = pem[pem.index(b"-----BEGIN CERTIFICATE") :].decode()
    said = {"certificate": leaf, "authority": BROKER.certificate_pem.decode(), "secret": SECRET}
    with pytest.raises(BrokerUntrusted, match="step 2"):
        join(Says(json.dumps(said).encode()))


def test_a_certificate_for_another_key():
    with pytest.raises(BrokerUntrusted, match="step 3"):
        join(Answers(key=new_key()))


@pytest.mark.parametrize(
    "member",
    [
        replace(EXECUTOR, role="driver"),
        replace(EXECUTOR, job="2" * 32),
        replace(EXECUTOR, domain="f" * 64),
        replace(EXECUTOR, domain=MESH.fingerprint),
        replace(EXECUTOR, job="x"),
    ],
)
def test_a_certificate_for_another_member(member):
    with pytest.raises(BrokerUntrusted, match="step 4"):
        join(Answers(member))


# peers


@pytest.fixture(scope="module")
def identity():
    return join(Answers())


def shown(member):
    """Return the certificate of a peer, DER; TLS has verified that it is the authority's."""
    issued = issue_member(MESH, new_key().public_key(), member, NOW, NOW + 60)
    return issued.public_bytes(Encoding.DER)


def test_a_peer_of_this_job(identity):
    peer = replace(EXECUTOR, role="driver")
    assert identity.check_peer(shown(peer)) == peer
    assert identity.check_peer(shown(peer), "driver") == peer


@pytest.mark.parametrize("certificate", [None, b"", b"x", MESH.certificate.public_bytes(Encoding.DER)])
def test_a_peer_that_shows_none(identity, certificate):
    with pytest.raises(AttestationRefused, match="step 1"):
        identity.check_peer(certificate)


@pytest.mark.parametrize("other", [replace(EXECUTOR, job="2" * 32), replace(EXECUTOR, domain="f" * 64)])
def test_a_peer_of_another_job(identity, other):
    with pytest.raises(AttestationRefused, match="step 2"):
        identity.check_peer(shown(other))
    with pytest.raises(AttestationRefused, match="step 2"):
        identity.check_peer(shown(other), "executor")


def test_a_peer_of_another_role(identity):
    with pytest.raises(AttestationRefused, match="step 3"):
        identity.check_peer(shown(EXECUTOR), "driver")
