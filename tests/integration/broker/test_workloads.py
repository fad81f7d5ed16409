"""Workloads and a real broker over HTTPS: what is released, and everything that is not."""

from __future__ import annotations

import threading

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from confide.broker.client import KbsClient
from confide.broker.release import Access
from confide.broker.server import EmbeddedBroker
from confide.canonical import sha256_hex
from confide.data.listing import ListedFile
from confide.errors import (
    AlreadyExists,
    AttestationRefused,
    Conflict,
    LaunchRefused,
    MeasurementRefused,
    Misuse,
    NoGrant,
    PolicyRefused,
    RevokedKey,
    Tampered,
    UnknownKey,
)
from confide.keys.names import KeyName
from confide.keys.signing import generate_signing_key

LAUNCH = {"args": "--year 2024"}
FILES = (ListedFile(path="part-0.parquet", size=5, binding="c" * 64),)
NEW = "2" * 32


@pytest.fixture
def session(client, clinic):
    return client.attest("simulated", clinic.host.issue, LAUNCH)


def test_release_holds_what_the_policy_grants_and_no_more(session, clinic):
    release = session.release()
    assert release.workload == "study"
    assert release.owners == ("clinic",)
    assert set(release.keys) == {"clinic/patients", "clinic/identifiers", "clinic/results", "clinic/logs"}
    read, write = release.grants
    assert (read.location, read.access, read.listing) == ("data/patients", Access.READ, clinic.listing())
    assert (write.location, write.access, write.table) == ("out", Access.WRITE, None)
    keyset = release.keyset()
    stored = clinic.store.key(KeyName("clinic", "results"))
    version, wrapped = keyset.wrap(KeyName("clinic", "results"), b"k" * 32, b"context")
    assert stored.unwrap(version, wrapped, b"context") == b"k" * 32


def test_a_key_that_is_only_read_cannot_wrap(session):
    with pytest.raises(RevokedKey):
        session.release().keyset().wrap(KeyName("clinic", "patients"), b"k" * 32, b"")


def test_release_is_audited_before_it_arrives(session, clinic):
    session.release()
    (entry,) = clinic.store.audit.entries(kind="release")
    assert entry.fields["measurement"] == clinic.host.measurement
    assert entry.fields["keys"] == [
        "clinic/identifiers",
        "clinic/logs",
        "clinic/patients",
        "clinic/results",
    ]
    assert entry.fields["reads"] == {"data/patients": {"owner": "clinic", "serial": 1}}
    assert entry.fields["writes"] == {"out": {"owner": "clinic", "serial": 0}}


def test_single_key(session, clinic):
    assert b'"versions"' in session.resource("clinic/key/patients")
    with pytest.raises(NoGrant):
        session.resource("clinic/key/unrelated")
    with pytest.raises(NoGrant):
        session.resource("clinic/key/missing")
    with pytest.raises(UnknownKey):
        session.resource("clinic/password/root")
    assert clinic.refusals() == ["NoGrant", "NoGrant", "UnknownKey"]


def test_another_role(session):
    assert session.release("driver").workload == "study"
    with pytest.raises(NoGrant):
        session.release("executor")


def test_measurement_that_no_policy_names(client, clinic):
    clinic.host.measurement = "f" * 64
    session = client.attest("simulated", clinic.host.issue, LAUNCH)
    with pytest.raises(MeasurementRefused):
        session.release()
    (entry,) = clinic.store.audit.entries(kind="refusal")
    assert "f" * 64 in entry.fields["detail"]
    assert not clinic.store.audit.entries(kind="release")


@pytest.mark.parametrize("launch", [{}, {"args": "--year 2024 --dump"}, {"args": ""}])
def test_launch_parameters_outside_their_grammar(client, clinic, launch):
    with pytest.raises(LaunchRefused):
        client.attest("simulated", clinic.host.issue, launch).release()


def test_debug_evidence(client, clinic):
    clinic.host.debug = True
    with pytest.raises(AttestationRefused):
        client.attest("simulated", clinic.host.issue, LAUNCH)
    assert clinic.refusals() == ["AttestationRefused"]


def test_unknown_host(client, clinic):
    clinic.host.key = generate_signing_key()
    with pytest.raises(AttestationRefused):
        client.attest("simulated", clinic.host.issue, LAUNCH)


def test_removed_host(client, clinic):
    clinic.store.remove_host(clinic.host.id)
    with pytest.raises(AttestationRefused):
        client.attest("simulated", clinic.host.issue, LAUNCH)


def test_simulated_evidence_where_it_is_not_allowed(clinic):
    with EmbeddedBroker(clinic.store) as broker:
        client = KbsClient(broker.url, broker.ca_pem)
        with pytest.raises(AttestationRefused):
            client.attest("simulated", clinic.host.issue, LAUNCH)
        client.close()


@pytest.mark.parametrize("tee", ["sgx", "tdx", "snp", "sample"])
def test_other_tees(client, clinic, tee):
    with pytest.raises(AttestationRefused):
        client.attest(tee, clinic.host.issue, LAUNCH)


def test_replayed_evidence(client, clinic):
    client.attest("simulated", clinic.host.issue, LAUNCH)
    with pytest.raises(AttestationRefused):
        client.attest("simulated", lambda _: clinic.host.issued[0], LAUNCH)


def test_revoked_key(session, clinic):
    clinic.store.revoke_key(KeyName("clinic", "patients"))
    with pytest.raises(RevokedKey):
        session.release()


def test_policy_withdrawn_between_attestation_and_release(session, clinic):
    clinic.put_policy(clinic.policy(2, measurement="e" * 64), 2)
    with pytest.raises(MeasurementRefused):
        session.release()


def test_policy_that_has_ended(session, clinic):
    ended = clinic.policy(2).replace(b"2999", b"2021")
    clinic.put_policy(ended, 2)
    with pytest.raises(PolicyRefused):
        session.release()


def test_commit(session, clinic):
    listing, jws = session.commit_listing("out", NEW, 0, FILES)
    assert (listing.serial, listing.owner, listing.key) == (1, "clinic", "clinic/results")
    stored = clinic.store.listing_at("clinic", "out")
    assert (stored.listing, stored.jws) == (listing, jws)
    again, _ = session.commit_listing("out", NEW, 1, FILES)
    assert again.serial == 2
    assert session.release().grants[1].listing == again
    entries = clinic.store.audit.entries(kind="commit")
    assert [entry.fields["serial"] for entry in entries] == [1, 2]
    assert [entry.fields["listing"] for entry in entries] == [
        sha256_hex(one.canonical()) for one in (listing, again)
    ]
    assert {entry.fields["workload"] for entry in entries} == {"study"}


def test_commit_where_it_may_only_read(session):
    with pytest.raises(NoGrant):
        session.commit_listing("data/patients", "1" * 32, 1, FILES)
    with pytest.raises(NoGrant):
        session.commit_listing("elsewhere", NEW, 0, FILES)


def test_commit_of_a_stream(client, clinic):
    stream = "rediss://redis.example:6380/pulses"
    text = (
        clinic.policy(2)
        .decode()
        .replace('"out"', f'"{stream}"')
        .replace('"write"\nformat = "table"', '"write"\nformat = "stream"')
    )
    clinic.put_policy(text.encode(), 2)
    session = client.attest("simulated", clinic.host.issue, LAUNCH)
    assert session.release().grants[1].listing is None
    with pytest.raises(NoGrant):
        session.commit_listing(stream, NEW, 0, FILES)


def test_commit_of_another_table(session):
    session.commit_listing("out", NEW, 0, FILES)
    with pytest.raises(NoGrant):
        session.commit_listing("out", "3" * 32, 1, FILES)


def test_commit_on_a_stale_serial(session):
    session.commit_listing("out", NEW, 0, FILES)
    other = (ListedFile(path="part-1.parquet", size=5, binding="c" * 64),)
    with pytest.raises(Conflict):
        session.commit_listing("out", NEW, 0, other)


def test_commit_that_is_no_listing(session):
    with pytest.raises(Misuse):
        session.commit_listing("out", NEW, 0, FILES * 2)


def test_concurrent_commits_exactly_one_wins(client, clinic):
    outcomes = []

    def commit(number):
        session = client.attest("simulated", clinic.host.issue, LAUNCH)
        files = (ListedFile(path=f"part-{number}.parquet", size=5, binding="c" * 64),)
        try:
            outcomes.append(session.commit_listing("out", NEW, 0, files)[0].serial)
        except Conflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=commit, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == ["1"] + ["conflict"] * 7
    assert clinic.store.listing_at("clinic", "out").listing.serial == 1


def test_two_tables_cannot_share_a_location(session, clinic):
    session.commit_listing("out", NEW, 0, FILES)
    taken = clinic.listing(1, "out", "9" * 32)
    with pytest.raises(AlreadyExists):
        clinic.store.commit_listing(taken, {}, 0)


def test_a_session_survives_a_restarted_broker(clinic):
    with EmbeddedBroker(clinic.store, allow_simulated=True) as broker:
        client = KbsClient(broker.url, broker.ca_pem)
        session = client.attest("simulated", clinic.host.issue, LAUNCH)
        # The token says when it ends; one that the broker no longer accepts makes the session attest again.
        session._token = {"Authorization": "Bearer expired"}
        assert session.release().workload == "study"
        assert len(clinic.host.issued) == 2
        client.close()


def test_the_log_knows_a_session_by_its_agents_key_also_when_it_attests_again(client, session, clinic):
    session.release()
    session._token = {"Authorization": "Bearer expired"}
    session.commit_listing("out", NEW, 0, FILES)
    client.attest("simulated", clinic.host.issue, LAUNCH).release()
    log = clinic.store.audit
    first, other = (entry.fields["agent"] for entry in log.entries(kind="release"))
    assert [entry.fields["agent"] for entry in log.entries(kind="commit")] == [first] != [other]
    session._key = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(Tampered):  # the evidence binds the key that was meant
        session.release()


def test_the_wire_tells_the_class_and_no_detail(broker, clinic, client):
    clinic.host.measurement = "f" * 64
    session = client.attest("simulated", clinic.host.issue, LAUNCH)
    with pytest.raises(MeasurementRefused) as caught:
        session.release()
    assert "f" * 64 not in str(caught.value)


def test_environment_has_no_say_in_the_connection(broker, clinic, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    client = KbsClient(broker.url, broker.ca_pem)
    client.attest("simulated", clinic.host.issue, LAUNCH)
    client.close()


def test_plain_http_is_no_broker_url(broker):
    with pytest.raises(Misuse):
        KbsClient(broker.url.replace("https", "http"), broker.ca_pem)
    with pytest.raises(Misuse):
        KbsClient(broker.url + "/path", broker.ca_pem)
    assert httpx.URL(broker.url).scheme == "https"
