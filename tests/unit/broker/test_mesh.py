"""Mesh certificates: who gets one of which job, and everything that gets none."""

from __future__ import annotations

import base64
import json
import os
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from confide.attestation.claims import Claims, Tee
from confide.broker import mesh
from confide.broker.attested_leaf import public_jwk
from confide.broker.ca import CertificateAuthority
from confide.broker.jwe import open_sealed
from confide.broker.mesh import MAX_BODY_BYTES, Job, MeshService
from confide.broker.mesh_certificate import (
    Member,
    issue_member,
    requested_key,
)
from confide.broker.rules import RELEASE_TTL_S
from confide.broker.store import Store
from confide.certificates import MAX_REQUEST_BYTES
from confide.errors import (
    InvalidFormat,
    LaunchRefused,
    MeasurementRefused,
    NoGrant,
    PolicyRefused,
    RevokedKey,
    Tampered,
)
from confide.keys.material import unwrap_with, wrap_with
from confide.keys.names import KeyName
from confide.keys.signing import generate_signing_key, raw_public

NOW = 1_800_000_000
DRIVER, EXECUTOR, OTHER, OTHER_EXECUTOR, ALONE = (digit * 64 for digit in "abcde")

POLICY = """version = 1
owner = "{owner}"
serial = {serial}
not_before = 2020-01-01T00:00:00Z
not_after = {end}
"""
WORKLOAD = """[[workload]]
name = "{name}"
tee = "simulated"
role = "{role}"
measurements = ["{measurement}"]
"""
GRANT = """[[grant]]
workload = "{name}"
location = "out/{name}/{owner}"
access = "write"
format = "table"
key = "{owner}/results"
"""
CONSENT = GRANT.replace('key = "{owner}/', 'key = "{other}/').replace("/{owner}", "/{other}")
STUDY = (("study", "driver", DRIVER), ("study", "executor", EXECUTOR))
CENSUS = (("census", "driver", OTHER), ("census", "executor", OTHER_EXECUTOR))


class Provider:
    key = os.urandom(32)

    def wrap(self, secret, context):
        return wrap_with(self.key, secret, context)

    def unwrap(self, wrapped, context):
        return unwrap_with(self.key, wrapped, context)


class Clock:
    now = NOW

    def __call__(self):
        return self.now


class World:
    """A broker's store, and the key of a workload's evidence."""

    def __init__(self, where):
        self.clock = Clock()
        self.store = Store.create(where, Provider(), self.clock)
        self.serial = 0
        self.tee_key = ec.generate_private_key(ec.SECP256R1())
        self.enroll("clinic")
        self.policy(*STUDY, *CENSUS)
        self.service = MeshService(self.store, self.clock)

    def enroll(self, owner):
        self.store.put_owner(owner, raw_public(generate_signing_key().public_key()))
        self.store.create_key(KeyName(owner, "results"))

    def policy(self, *workloads, owner="clinic", end="2999-01-01T00:00:00Z", other=None, launch=""):
        self.serial += 1
        text = POLICY.format(owner=owner, serial=self.serial, end=end)
        for name, role, measurement in workloads:
            text += WORKLOAD.format(name=name, role=role, measurement=measurement) + launch
        for name in sorted({name for name, *_ in workloads}):
            text += GRANT.format(name=name, owner=owner)
            if other:
                text += CONSENT.format(name=name, owner=owner, other=other)
        self.store.put_policy(owner, self.serial, {"payload": str(self.serial)}, text.encode())

    def claims(self, measurement=DRIVER, role="driver", owners=("bank", "clinic"), **launch):
        jwk = public_jwk(self.tee_key.public_key()).wire()
        return Claims(Tee.SIMULATED, measurement, role, 0, False, "host", jwk, launch, owners=owners)

    def ask(self, claims, key=None):
        return x509.load_pem_x509_certificate(self.answer(claims, key)["certificate"].encode())

    def answer(self, claims, key=None):
        answer = json.loads(open_sealed(self.tee_key, self.service.issue(claims, asking(key))))
        assert answer.keys() == {"certificate", "authority", "secret"}
        return answer

    def open(self, key=None):
        return Member.of(self.ask(self.claims(), key)).job

    def join(self, job, measurement=EXECUTOR, role="executor", **launch):
        return self.ask(self.claims(measurement, role, mesh_job=job, **launch))

    def refused(self):
        return [entry.fields["detail"] for entry in self.store.audit.entries(kind="refusal")]

    def issued(self):
        return self.store.audit.entries(kind="mesh-certificate")


@pytest.fixture
def world(where):
    world = World(where)
    yield world
    world.store.close()


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def csr_of(key, algorithm=None, names=()):
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root of all")])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(key, algorithm or hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def asking(key=None):
    return json.dumps({"csr": csr_of(key or new_key())}).encode()


# what is issued


def test_a_driver_opens_a_job_and_an_executor_joins_it(world):
    driver = world.ask(world.claims())
    member = Member.of(driver)
    executor = world.join(member.job)
    domain = CertificateAuthority.of(world.store).fingerprint
    assert member == Member(domain, member.job, "driver")
    assert Member.of(executor) == Member(domain, member.job, "executor")
    opened, joined = world.issued()
    assert opened.fields["uri"] == member.uri
    assert opened.fields["owners"] == ["clinic"]
    assert (joined.fields["role"], joined.fields["measurement"]) == ("executor", EXECUTOR)
    assert joined.fields["serial"] == f"{executor.serial_number:x}"
    assert joined.fields["expires"] == executor.not_valid_after_utc.timestamp()


def test_a_certificate_says_what_the_broker_knows_and_nothing_that_was_asked_for(world):
    key = new_key()
    wanted = [x509.DNSName("kbs.clinic.example"), x509.UniformResourceIdentifier("spiffe://x/job/y/role/z")]
    body = json.dumps({"csr": csr_of(key, names=wanted)}).encode()
    answer = json.loads(open_sealed(world.tee_key, world.service.issue(world.claims(), body)))
    certificate = x509.load_pem_x509_certificate(answer["certificate"].encode())
    member = Member.of(certificate)
    extensions = certificate.extensions
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(names) == [x509.UniformResourceIdentifier(member.uri), x509.DNSName(member.host)]
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.SERVER_AUTH,
    }
    assert len(list(extensions)) == 6
    assert certificate.subject.rfc4514_string() == "CN=confide mesh driver"
    assert certificate.public_key() == key.public_key()


def test_a_day_at_most(world):
    certificate = world.ask(world.claims())
    assert certificate.not_valid_after_utc == datetime.fromtimestamp(NOW + RELEASE_TTL_S, UTC)
    assert certificate.not_valid_before_utc == datetime.fromtimestamp(NOW - 300, UTC)


def test_not_longer_than_the_policy(world):
    world.policy(*STUDY, end=datetime.fromtimestamp(NOW + 60, UTC).isoformat())
    assert world.ask(world.claims()).not_valid_after_utc.timestamp() == NOW + 60


def test_not_longer_than_the_job(world):
    job = world.open()
    world.clock.now += 1000
    assert world.join(job).not_valid_after_utc.timestamp() == NOW + RELEASE_TTL_S


def test_the_same_key_opens_its_job_once(world):
    key = new_key()
    job = world.open(key)
    world.clock.now += RELEASE_TTL_S - 1
    with pytest.raises(NoGrant, match=f"job {job} is open already"):
        world.open(key)
    assert world.join(job).not_valid_after_utc.timestamp() == NOW + RELEASE_TTL_S


def test_every_key_has_a_job_of_its_own(world):
    assert world.open() != world.open()


def test_the_same_key_for_another_workload_is_another_job(world):
    key = new_key()
    other = Member.of(world.ask(world.claims(OTHER), key)).job
    assert world.open(key) != other
    with pytest.raises(NoGrant, match="step 5"):
        world.join(other)


def test_two_brokers_of_one_store_serve_one_mesh(world):
    second = MeshService(world.store, world.clock)
    job = world.open()
    world.service = second
    assert Member.of(world.join(job)).job == job


# who gets nothing


def test_unknown_measurement(world):
    with pytest.raises(MeasurementRefused):
        world.ask(world.claims("9" * 64))
    assert not world.issued()
    assert len(world.refused()) == 1


@pytest.mark.parametrize(("measurement", "role"), [(EXECUTOR, "driver"), (DRIVER, "executor"), (DRIVER, "")])
def test_the_measurement_of_another_role(world, measurement, role):
    job = world.open()
    with pytest.raises(MeasurementRefused):
        world.ask(world.claims(measurement, role, mesh_job=job))
    with pytest.raises(MeasurementRefused):
        world.ask(world.claims(measurement, role))


@pytest.mark.parametrize("named", [None, "", "0" * 31, "A" * 32, "0" * 32 + "\n", "../job/" + "0" * 25])
def test_an_executor_that_names_no_job(world, named):
    launch = {} if named is None else {"mesh_job": named}
    with pytest.raises(NoGrant, match="step 3"):
        world.ask(world.claims(EXECUTOR, "executor", **launch))


def test_an_unknown_job(world):
    world.open()
    with pytest.raises(NoGrant, match="unknown"):
        world.join("0" * 32)


def test_a_driver_cannot_join(world):
    job = world.open()
    with pytest.raises(NoGrant, match="step 3"):
        world.ask(world.claims(mesh_job=job))


def test_a_member_of_another_workload(world):
    job = world.open()
    with pytest.raises(NoGrant, match="step 5"):
        world.join(job, OTHER_EXECUTOR)
    assert len(world.issued()) == 1


def test_a_job_that_has_ended(world):
    job = world.open()
    world.clock.now += RELEASE_TTL_S - 1
    world.join(job)
    world.clock.now += 1
    with pytest.raises(NoGrant, match="step 4"):
        world.join(job)
    world.open()  # forgets it
    with pytest.raises(NoGrant, match="unknown"):
        world.join(job)


def test_a_withdrawn_member(world):
    job = world.open()
    world.policy(("study", "driver", DRIVER))
    with pytest.raises(MeasurementRefused):
        world.join(job)


def test_a_withdrawn_driver(world):
    job = world.open()
    world.policy(("study", "executor", EXECUTOR))
    with pytest.raises(MeasurementRefused, match="role driver"):
        world.join(job)
    with pytest.raises(MeasurementRefused):
        world.open()


def test_a_renamed_driver(world):
    job = world.open()
    world.policy(("study", "executor", EXECUTOR), ("census", "driver", DRIVER))
    with pytest.raises(NoGrant, match="step 5"):
        world.join(job)


def test_a_job_of_other_owners(world):
    """An owner who takes part in the executor alone has not consented to the driver."""
    job = world.open()
    world.enroll("bank")
    world.policy(("study", "executor", EXECUTOR), owner="bank", other="clinic")
    world.policy(*STUDY, owner="clinic", other="bank")
    with pytest.raises(
        NoGrant, match=r"step 5: job \w+ is study of clinic; the member is study of bank, clinic"
    ):
        world.join(job)


EVIL = "f" * 64


def job_of_two(world):
    """The clinic and the bank approve the driver; each approves an executor that the other does not."""
    world.enroll("bank")
    world.policy(("study", "driver", DRIVER), ("study", "executor", EVIL), owner="clinic", other="bank")
    world.policy(*STUDY, owner="bank", other="clinic")
    return world.open()


def test_an_owner_who_withdraws_ends_joining(world):
    """The driver holds the bank's keys until it ends: the clinic alone cannot say who sees what they opened."""
    job = job_of_two(world)
    with pytest.raises(NoGrant, match="step 5"):
        world.join(job, EVIL)
    world.policy(*CENSUS, owner="bank")
    with pytest.raises(
        NoGrant, match=r"step 5: job \w+ is study of bank, clinic; the driver is study of clinic now"
    ):
        world.join(job, EVIL)
    assert len(world.issued()) == 1


def test_the_owners_of_a_job_read_of_who_was_refused_there(world):
    job = job_of_two(world)
    world.policy(*CENSUS, owner="bank")  # it names neither the driver nor the executor any more
    with pytest.raises(NoGrant):
        world.join(job, EVIL)
    with pytest.raises(MeasurementRefused):
        world.join(job, "9" * 64)
    assert [entry.fields["owners"] for entry in world.store.audit.entries(kind="refusal")] == [
        ["bank", "clinic"],
        ["bank", "clinic"],
    ]


def test_an_owner_who_comes_back_lets_members_join_again(world):
    job = job_of_two(world)
    world.policy(*CENSUS, owner="bank")
    world.policy(*STUDY, owner="clinic", other="bank")
    with pytest.raises(NoGrant, match="step 5"):
        world.join(job)
    world.policy(*STUDY, owner="bank", other="clinic")
    world.join(job)


def test_a_policy_that_has_ended(world):
    job = world.open()
    world.policy(*STUDY, end=datetime.fromtimestamp(NOW + 60, UTC).isoformat())
    world.join(job)
    world.clock.now += 60
    for ask in (world.open, lambda: world.join(job)):
        with pytest.raises(PolicyRefused):
            ask()


def test_launch_parameters_outside_the_policy(world):
    world.policy(("study", "driver", DRIVER))
    job = world.open()
    world.policy(*STUDY, launch='launch = { args = "x" }\n')
    with pytest.raises(LaunchRefused):
        world.join(job)
    with pytest.raises(LaunchRefused):
        world.ask(world.claims(EXECUTOR, "executor", mesh_job=job, args="x"))  # the driver's no longer match


def test_a_revoked_key(world):
    world.store.revoke_key(KeyName("clinic", "results"))
    with pytest.raises(RevokedKey):
        world.open()


def test_a_job_that_somebody_wrote_into_the_store(world):
    job, other = world.open(), world.open()
    with world.store.transaction():
        world.store._database.run("UPDATE job SET id = ? WHERE id = ?", "f" * 32, job)
    with pytest.raises(Tampered):
        world.join("f" * 32)
    world.join(other)


def test_an_answer_sealed_to_a_key_of_no_known_curve(world):
    sealed = world.service.issue(world.claims(), asking())
    header = json.loads(base64.urlsafe_b64decode(sealed["protected"] + "=="))
    header["epk"]["crv"] = "P-r56"
    sealed["protected"] = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    with pytest.raises(Tampered):
        open_sealed(world.tee_key, sealed)


def test_a_stolen_token_reads_nothing(world):
    sealed = world.service.issue(world.claims(), asking())
    with pytest.raises(Tampered):
        open_sealed(new_key(), sealed)


# requests


def test_bodies_that_are_no_requests(world):
    good = json.loads(asking())
    bodies = [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        json.dumps({**good, "role": "driver"}).encode(),
        json.dumps({"csr": [good["csr"]]}).encode(),
        json.dumps({"csr": "x" * (MAX_REQUEST_BYTES + 1)}).encode(),
        asking() + b" " * MAX_BODY_BYTES,
    ]
    for body in bodies:
        with pytest.raises(InvalidFormat):
            world.service.issue(world.claims(), body)
    assert len(world.refused()) == len(bodies)
    assert not world.issued()


def test_keys_that_are_not_on_p256():
    keys = [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65537, 2048),
    ]
    for key in keys:
        with pytest.raises(InvalidFormat, match="step 2"):
            requested_key(csr_of(key))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = builder.sign(ed25519.Ed25519PrivateKey.generate(), None).public_bytes(Encoding.PEM)
    with pytest.raises(InvalidFormat, match="step 2"):
        requested_key(pem.decode())


def test_another_hash():
    with pytest.raises(InvalidFormat, match="step 3"):
        requested_key(csr_of(new_key(), hashes.SHA384()))


def test_every_bit_of_a_request_counts():
    request = x509.load_pem_x509_csr(csr_of(new_key()).encode())
    der = request.public_bytes(Encoding.DER)
    unused = (
        len(der) - len(request.signature) - 1
    )  # number of unused bits of a BIT STRING, whose last bits may be 0
    assert der[unused] == 0
    for bit in range(len(der) * 8):
        if bit // 8 == unused:
            continue
        changed = bytearray(der)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidFormat):
            requested_key(pem_of(bytes(changed)))


def test_truncated_requests():
    der = x509.load_pem_x509_csr(csr_of(new_key()).encode()).public_bytes(Encoding.DER)
    for length in range(len(der)):
        with pytest.raises(InvalidFormat):
            requested_key(pem_of(der[:length]))


@pytest.mark.parametrize("text", ["", "x", "é", "\0", csr_of(new_key()).replace("REQUEST", "X")])
def test_text_that_is_no_request(text):
    with pytest.raises(InvalidFormat):
        requested_key(text)


def pem_of(der):
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


# names


MEMBER = Member("d" * 64, "1" * 32, "executor")


@pytest.mark.parametrize(
    "uri",
    [
        MEMBER.uri + "/",
        MEMBER.uri + "\n",
        MEMBER.uri.upper(),
        MEMBER.uri.replace("spiffe:", "https:"),
        replace(MEMBER, job="1" * 31).uri,
        replace(MEMBER, job="1" * 33).uri,
        replace(MEMBER, role="").uri,
        replace(MEMBER, role="-x").uri,
        replace(MEMBER, role="x" * 33).uri,
        replace(MEMBER, role="driver/role/executor").uri,
        replace(MEMBER, domain="clinic.example").uri,
        "spiffe://" + "d" * 64,
        "",
    ],
)
def test_uris_that_name_no_member(uri):
    with pytest.raises(InvalidFormat):
        Member.of(certificate_of([x509.UniformResourceIdentifier(uri)]))


def test_a_certificate_names_one_member():
    one, two = MEMBER.uri, replace(MEMBER, role="driver").uri
    assert Member.of(certificate_of([x509.UniformResourceIdentifier(one)])) == MEMBER
    with pytest.raises(InvalidFormat):
        Member.of(certificate_of([x509.UniformResourceIdentifier(each) for each in (one, two)]))
    with pytest.raises(InvalidFormat):
        Member.of(certificate_of([x509.DNSName(MEMBER.host)]))
    with pytest.raises(InvalidFormat):
        Member.of(certificate_of([]))


def test_no_broker_s_certificate_is_a_mesh_certificate(world):
    pem = CertificateAuthority.of(world.store).issue_leaf(["localhost"], NOW)
    with pytest.raises(InvalidFormat):
        Member.of(x509.load_pem_x509_certificate(pem[pem.index(b"-----BEGIN CERTIFICATE") :]))


def test_every_job_has_an_authority_and_a_secret_of_its_own(world):
    one, other = (world.answer(world.claims()) for _ in range(2))
    assert one["authority"] != other["authority"]
    assert one["secret"] != other["secret"]
    job = Member.of(_certificate(one)).job
    joined = world.answer(world.claims(EXECUTOR, "executor", mesh_job=job))
    assert (joined["authority"], joined["secret"]) == (one["authority"], one["secret"])


def test_a_job_that_ended_comes_back_with_another_secret(world):
    key = new_key()
    secret = world.answer(world.claims(), key)["secret"]
    world.clock.now += RELEASE_TTL_S
    assert world.answer(world.claims(), key)["secret"] != secret


def test_the_store_holds_the_secret_sealed_and_no_text_shows_it(world, where):
    answer = world.answer(world.claims())
    job = Job.model_validate_json(world.store.job(Member.of(_certificate(answer)).job))
    assert job.secret == answer["secret"]
    assert job.secret not in repr(job)
    assert "PRIVATE KEY" not in repr(job)
    row = world.store._database.row("SELECT sealed FROM job")
    assert job.secret.encode() not in bytes(row[0])


def test_a_member_that_names_itself_joins_once(world):
    job = world.open()
    world.join(job, mesh_member="1")
    with pytest.raises(NoGrant, match="'1' has joined"):
        world.join(job, mesh_member="1")
    world.join(job, mesh_member="2")
    world.join(world.open(), mesh_member="1")
    assert len(world.issued()) == 5


def test_a_name_of_many_characters(world):
    job = world.open()
    world.join(job, mesh_member="1" * 64)
    with pytest.raises(NoGrant, match="step 6: a name of 65 characters"):
        world.join(job, mesh_member="1" * 65)
    assert world.store.members(job) == ["1" * 64]


def test_so_many_members_and_no_more(world, monkeypatch):
    monkeypatch.setattr(mesh, "MAX_MEMBERS", 2)
    job = world.open()
    for name in ("1", "2"):
        world.join(job, mesh_member=name)
    with pytest.raises(NoGrant, match="2 members have joined"):
        world.join(job, mesh_member="3")
    assert world.store.members(job) == ["1", "2"]
    world.join(world.open(), mesh_member="3")


def test_a_member_that_was_refused_has_not_joined(world):
    job = world.open()
    world.policy(*STUDY, launch='launch = { mesh_member = "[0-9]" }\n')
    with pytest.raises(LaunchRefused):
        world.join(job, mesh_member="1")
    assert world.store.members(job) == []


def test_members_are_forgotten_with_their_job(world):
    job = world.open()
    world.join(job, mesh_member="1")
    world.clock.now += RELEASE_TTL_S
    world.open()
    assert world.store.members(job) == []


def test_what_a_member_costs_does_not_grow_with_their_number(world):
    job = world.open()
    before = world.store.job(job)
    for number in range(5):
        world.join(job, mesh_member=str(number))
    assert world.store.job(job) == before


def _certificate(answer):
    return x509.load_pem_x509_certificate(answer["certificate"].encode())


def certificate_of(names):
    key = new_key()
    authority = CertificateAuthority.create(NOW)
    issued = issue_member(authority, key.public_key(), MEMBER, NOW, NOW + 60)
    builder = (
        x509.CertificateBuilder()
        .subject_name(issued.subject)
        .issuer_name(issued.issuer)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(issued.not_valid_before_utc)
        .not_valid_after(issued.not_valid_after_utc)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(authority.key, hashes.SHA256())
