"""Who is refused before anything is known of him does not fill the audit log."""

from __future__ import annotations

import base64
import json

import pytest

from confide.attestation.claims import Tee
from confide.broker import strangers
from confide.broker.owner_service import OwnerService
from confide.broker.service import WorkloadService
from confide.errors import AttestationRefused, InvalidFormat, SignatureRefused

from .test_mesh import World

REQUEST = json.dumps({"version": "0.4.0", "tee": Tee.SIMULATED, "extra-params": ""}).encode()


class Ticks:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def ticks():
    return Ticks()


@pytest.fixture
def world(where, ticks):
    world = World(where)
    world.workloads = WorkloadService(
        world.store, issuer="https://x", allow_simulated=True, clock=world.clock, monotonic=ticks
    )
    yield world
    world.store.close()


def entries(world):
    return [entry.fields for entry in world.store.audit.entries(kind="refusal", limit=10_000)]


def refused(world):
    """Answer a challenge with evidence of nobody."""
    session, _ = world.workloads.challenge(REQUEST)
    with pytest.raises(AttestationRefused):
        world.workloads.attest(session, evidence(world))


def evidence(world):
    jwk = world.claims().tee_pubkey
    nonce = base64.b64encode(bytes(32)).decode()
    runtime_data = {"nonce": nonce, "tee-pubkey": jwk}
    return json.dumps({"runtime-data": runtime_data, "tee-evidence": {"primary_evidence": {}}}).encode()


@pytest.mark.parametrize("body", [b"{}", b"", b"[]", b"{" * 1000])
def test_who_has_no_challenge_is_not_logged(world, body):
    size = world.store.audit.size()
    for session in ("", "x", "x" * 10_000):
        with pytest.raises(AttestationRefused, match="no open challenge"):
            world.workloads.attest(session, body)
    assert world.store.audit.size() == size


def test_a_challenge_is_used_up_and_logs_once(world):
    session, _ = world.workloads.challenge(REQUEST)
    with pytest.raises(AttestationRefused):
        world.workloads.attest(session, evidence(world))
    with pytest.raises(AttestationRefused, match="no open challenge"):
        world.workloads.attest(session, evidence(world))
    (entry,) = entries(world)
    assert (entry["error"], entry["owners"]) == ("AttestationRefused", [])
    assert "left_out" not in entry


def test_so_many_and_no_more(world, ticks):
    for _ in range(strangers.AT_ONCE + 7):
        refused(world)
    assert len(entries(world)) == strangers.AT_ONCE
    ticks.now += 1 / strangers.PER_SECOND
    for _ in range(3):
        refused(world)
    assert [entry.get("left_out") for entry in entries(world)[strangers.AT_ONCE :]] == [7]
    ticks.now += 1 / strangers.PER_SECOND
    refused(world)
    assert entries(world)[-1]["left_out"] == 2


def test_calls_in_an_owner_s_name_that_he_did_not_sign(world, ticks):
    owners = OwnerService(world.store, names=["x"], authority="a" * 64, clock=world.clock, monotonic=ticks)
    for _ in range(strangers.AT_ONCE + 7):
        with pytest.raises(SignatureRefused):
            owners.call("clinic", "put-key", "https://x/confide/v1/owners/clinic/put-key", {})
    assert len(entries(world)) == strangers.AT_ONCE
    assert (entries(world)[-1]["owners"], entries(world)[-1]["call"]) == (["clinic"], "put-key")
    refused(world)  # counts apart
    assert len(entries(world)) == strangers.AT_ONCE + 1


def test_whom_the_broker_knows_is_logged_however_many_strangers_there_were(world):
    for _ in range(strangers.AT_ONCE + 1):
        refused(world)
    with pytest.raises(InvalidFormat):
        world.service.issue(world.claims(), b"{}")
    assert entries(world)[-1]["measurement"] == world.claims().measurement
