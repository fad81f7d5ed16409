from __future__ import annotations

import pytest

from confide.attestation.claims import Claims, Tee
from confide.broker.sessions import ATTESTED_TTL_S, CHALLENGE_TTL_S, Nonces, RateLimit, Sessions
from confide.errors import AttestationRefused, BrokerUnavailable, SignatureRefused

CLAIMS = Claims(Tee.SIMULATED, "a" * 64, "driver", 0, False, "h", {})


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_challenge_serves_once(clock):
    sessions = Sessions(clock)
    identifier, nonce = sessions.challenge("simulated", "0.4.0")
    taken = sessions.take_challenge(identifier)
    assert (taken.tee, taken.nonce) == ("simulated", nonce)
    with pytest.raises(AttestationRefused):
        sessions.take_challenge(identifier)


def test_identifiers_and_nonces_differ(clock):
    made = [Sessions(clock).challenge("simulated", "0.4.0") for _ in range(50)]
    assert len({part for pair in made for part in pair}) == 100


def test_a_challenge_expires(clock):
    sessions = Sessions(clock)
    identifier, _ = sessions.challenge("simulated", "0.4.0")
    clock.now += CHALLENGE_TTL_S
    with pytest.raises(AttestationRefused):
        sessions.take_challenge(identifier)


def test_an_attested_session_expires(clock):
    sessions = Sessions(clock)
    sessions.attested("a", CLAIMS, known=True)
    assert sessions.claims("a") is CLAIMS
    clock.now += ATTESTED_TTL_S
    with pytest.raises(AttestationRefused):
        sessions.claims("a")


@pytest.mark.parametrize("identifier", ["", "guess"])
def test_unknown_sessions(clock, identifier):
    sessions = Sessions(clock)
    for method in (sessions.claims, sessions.take_challenge):
        with pytest.raises(AttestationRefused):
            method(identifier)


def test_a_challenged_session_has_no_claims(clock):
    sessions = Sessions(clock)
    identifier, _ = sessions.challenge("simulated", "0.4.0")
    with pytest.raises(AttestationRefused):
        sessions.claims(identifier)


def test_a_flood_pushes_out_challenges_and_no_attested_session(clock):
    sessions = Sessions(clock, max_sessions=3)
    sessions.attested("mine", CLAIMS, known=True)
    first, _ = sessions.challenge("simulated", "0.4.0")
    for _ in range(10):
        last, _ = sessions.challenge("simulated", "0.4.0")
    assert sessions.claims("mine") is CLAIMS
    sessions.take_challenge(last)
    with pytest.raises(AttestationRefused):
        sessions.take_challenge(first)


def test_of_too_many_attested_sessions_the_oldest_goes(clock):
    sessions = Sessions(clock, max_sessions=2)
    for identifier in "abc":
        sessions.attested(identifier, CLAIMS, known=True)
    assert sessions.claims("b") is sessions.claims("c") is CLAIMS
    with pytest.raises(AttestationRefused):
        sessions.claims("a")


def test_strangers_push_out_strangers_first(clock):
    sessions = Sessions(clock, max_sessions=3)
    sessions.attested("mine", CLAIMS, known=True)
    for number in range(10):
        sessions.attested(f"stranger{number}", CLAIMS, known=False)
    assert sessions.claims("mine") is CLAIMS
    assert sessions.claims("stranger9") is CLAIMS
    for identifier in "ab":
        sessions.attested(identifier, CLAIMS, known=True)
    assert sessions.claims("mine") is CLAIMS
    for number in range(10):
        with pytest.raises(AttestationRefused):
            sessions.claims(f"stranger{number}")
    clock.now += ATTESTED_TTL_S
    sessions.attested("late", CLAIMS, known=False)
    with pytest.raises(AttestationRefused):
        sessions.claims("mine")


def test_nonces_serve_once_expire_and_are_bounded(clock):
    nonces = Nonces(clock, max_nonces=2)
    first, second, third = (nonces.issue() for _ in range(3))
    nonces.take(third)
    for bad in (first, third, "", "made-up"):
        with pytest.raises(SignatureRefused):
            nonces.take(bad)
    clock.now += ATTESTED_TTL_S
    with pytest.raises(SignatureRefused):
        nonces.take(second)


def test_rate_limit_refills_and_is_per_address(clock):
    limit = RateLimit(clock, rate_per_s=2.0, burst=3)
    for _ in range(3):
        limit.take("a")
    for _ in range(5):
        with pytest.raises(BrokerUnavailable):
            limit.take("a")
    limit.take("b")
    clock.now += 0.5
    limit.take("a")
    with pytest.raises(BrokerUnavailable):
        limit.take("a")
    clock.now += 3600
    for _ in range(3):
        limit.take("a")
    with pytest.raises(BrokerUnavailable):
        limit.take("a")
