"""Workers' evidence: what binds authority and pool keys, and which workers a client accepts."""

from __future__ import annotations

import base64

import pytest

from confide.attestation.evidence import StatedImage
from confide.broker.accepted_document import accepted_document
from confide.broker.policy import parse_policy
from confide.broker.store_keys import KeySummary, VersionSummary
from confide.enclave.attester import OwnEvidence
from confide.enclave.simulated.issuer import SimulatedIssuer
from confide.errors import AttestationRefused, InvalidFormat, Misuse
from confide.keys.material import NamedKey
from confide.keys.names import KeyName
from confide.keys.signing import generate_signing_key, raw_public
from confide.serving.identity import (
    AcceptedServing,
    Introduction,
    WorkerIdentity,
    verify_worker,
)
from confide.serving.pool_key import PoolKeys

NOW = 1_800_000_000
MEASUREMENT, OTHER = "ab" * 32, "cd" * 32
HOST = generate_signing_key()
KEYS = PoolKeys(NamedKey(KeyName("clinic", "pool"), 2, {1: bytes(32), 2: bytes([1]) * 32}))
REVOKED = PoolKeys(NamedKey(KeyName("clinic", "pool"), 2, {2: bytes([1]) * 32}, frozenset({1})))
OLD = PoolKeys(NamedKey(KeyName("clinic", "pool"), 1, {1: bytes(32)}))
FOREIGN = PoolKeys(NamedKey(KeyName("mallory", "pool"), 2, {1: bytes(32), 2: bytes([1]) * 32}))


def worker(measurement=MEASUREMENT, host=HOST, role="driver", svn=1):
    image = StatedImage(measurement=measurement, role=role, svn=svn)
    issuer = SimulatedIssuer(host, image)
    evidence = OwnEvidence("simulated", image, lambda runtime: issuer.issue(runtime.report_data()))
    return WorkerIdentity(evidence, ["127.0.0.1"], NOW)


def introduced(identity=None, keys=KEYS, shown=None, nonce=""):
    identity = identity or worker()
    return Introduction.model_validate(identity.introduce(shown or keys, identity.leaf(keys, NOW, nonce)))


def accepted(host=HOST, **changed):
    key = base64.b64encode(raw_public(host.public_key())).decode()
    document = {
        "version": 1,
        "tee": "simulated",
        "measurements": (MEASUREMENT,),
        "hosts": (key,),
        "requests": "clinic/pool",
    }
    return AcceptedServing.model_validate(document | changed)


def verify(introduction, document=None, nonce="", now=NOW):
    return verify_worker(introduction, document or accepted(), None, now, nonce)


@pytest.mark.parametrize("nonce", ["", "0123456789abcdef" * 4])
def test_an_accepted_worker(nonce):
    found = verify(introduced(nonce=nonce), nonce=nonce)
    assert found.key == KEYS.public[1]
    assert found.claims.measurement == MEASUREMENT
    assert b"BEGIN CERTIFICATE" in found.authority_pem


MIXED = introduced().model_copy(update={"authority": introduced().authority})


@pytest.mark.parametrize(
    ("introduction", "document", "reason"),
    [
        (introduced(worker(OTHER)), None, "step 5: measurement"),
        (introduced(worker(role="executor")), None, "step 5.*executor"),
        (introduced(), accepted(minimum_svn=2), "step 5: security version"),
        (introduced(), accepted(measurements=(OTHER,)), "step 5: measurement"),
        (introduced(), accepted(host=generate_signing_key()), "not listed"),
        (introduced(worker(host=generate_signing_key())), None, "not listed"),
        (introduced(), accepted(tee="snp", hosts=()), "step 2: evidence of the TEE simulated"),
        (introduced(keys=FOREIGN), None, "step 7: requests go to mallory/pool"),
        (introduced(), accepted(requests="clinic/other"), "step 7: requests go to clinic/pool"),
        (introduced(shown=REVOKED), None, "step 8"),
        (introduced(keys=REVOKED, shown=KEYS), None, "step 8"),
        (introduced().model_copy(update={"current": "clinic/pool:1"}), None, "step 8"),
        (introduced().model_copy(update={"current": "clinic/pool:3"}), None, "step 7"),
        (
            introduced(),
            accepted(minimum_version=3),
            "step 7: requests go to clinic/pool:2, at least version 3",
        ),
        (introduced(keys=OLD), accepted(minimum_version=2), "step 7: requests go to clinic/pool:1"),
        (introduced().model_copy(update={"current": "pool"}), None, "step 7"),
        (introduced().model_copy(update={"certificate": "x"}), None, "step 1"),
        (introduced().model_copy(update={"certificate": introduced().authority}), None, "step 1"),
        (introduced(nonce="1" * 64), None, "nonce"),
        (MIXED, None, "step 4"),
    ],
)
def test_no_accepted_worker(introduction, document, reason):
    with pytest.raises(AttestationRefused, match=reason):
        verify(introduction, document)


def test_evidence_for_another_nonce_is_old_evidence():
    with pytest.raises(AttestationRefused, match="nonce"):
        verify(introduced(nonce="1" * 64), nonce="2" * 64)
    with pytest.raises(AttestationRefused, match="nonce"):
        verify(introduced(), nonce="2" * 64)


@pytest.mark.parametrize("now", [NOW - 3600, NOW + 91 * 24 * 3600])
def test_a_certificate_outside_its_validity(now):
    with pytest.raises(AttestationRefused, match="step 1"):
        verify(introduced(), now=now)


@pytest.mark.parametrize("place", range(2))
def test_another_public_key_in_its_place(place):
    introduction = introduced()
    keys = dict(introduction.keys)
    keys[list(keys)[place]] = base64.b64encode(bytes([9]) * 32).decode()
    with pytest.raises(AttestationRefused, match="step 8"):
        verify(introduction.model_copy(update={"keys": keys}))


POLICY = f"""version = 1
owner = "clinic"
serial = 3
not_before = 2026-11-22T00:00:00Z
not_after = 2027-11-22T00:00:00Z
[[workload]]
name = "iris"
tee = "simulated"
measurements = ["{MEASUREMENT}"]
requests = "clinic/pool"
"""


def summary(name, *revoked):
    versions = (VersionSummary(n, 0, 1 if gone else None) for n, gone in enumerate(revoked, 1))
    return KeySummary(KeyName.parse(name), len(revoked), None, tuple(versions))


@pytest.mark.parametrize(
    ("keys", "minimum"),
    [
        ([], 1),
        ([summary("clinic/pool", False, False)], 1),
        ([summary("clinic/pool", True, False, False), summary("clinic/other", True, True, True, False)], 2),
        ([summary("clinic/other", True, False)], 1),
    ],
)
def test_the_document_that_a_policy_gives(keys, minimum):
    policy, hosts = parse_policy(POLICY.encode()), [raw_public(HOST.public_key())]
    text = accepted_document(policy, "iris", hosts, keys, AcceptedServing)
    assert AcceptedServing.from_toml(text.encode()) == accepted(minimum_version=minimum)


def test_the_document_of_hardware_demands_what_the_policy_demands():
    platform = '[workload.platform]\nregisters = { measurement = ["' + "ab" * 48 + '"] }\n'
    platform += 'products = ["Genoa"]\n'
    platform += "minimum_tcb = { bootloader = 4, tee = 0, snp = 24, microcode = 219 }\n"
    policy = parse_policy(POLICY.replace('"simulated"', '"snp"').encode() + platform.encode())
    document = AcceptedServing.from_toml(accepted_document(policy, "iris", [], [], AcceptedServing).encode())
    assert document.platform == policy.workload[0].platform
    assert document.hosts == ()


@pytest.mark.parametrize(
    ("policy", "workload"),
    [
        (POLICY, "wine"),
        (
            POLICY.replace(
                'requests = "clinic/pool"',
                '[[grant]]\nworkload = "iris"\nlocation = "x"\n'
                'access = "read"\nformat = "files"\nkey = "clinic/k"',
            ),
            "iris",
        ),
    ],
)
def test_no_document_for_what_takes_no_requests(policy, workload):
    with pytest.raises(Misuse, match=workload):
        accepted_document(
            parse_policy(policy.encode()), workload, [raw_public(HOST.public_key())], [], AcceptedServing
        )


@pytest.mark.parametrize(
    "text",
    [b"", b"version = 1", b"\xff", b"#" * 17_000, b'version = 1\ntee = "simulated"\nmeasurements = ["x"]'],
)
def test_documents_that_are_none(text):
    with pytest.raises(InvalidFormat):
        AcceptedServing.from_toml(text)
