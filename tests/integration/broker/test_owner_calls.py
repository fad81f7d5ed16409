"""Owners' signed calls to a real broker: what they change, and every call that is not theirs."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from dataclasses import replace

import httpx
import pytest

from confide.broker.ca import authority_id
from confide.broker.client import OwnerClient
from confide.broker.home import Home
from confide.broker.identity import listing_key
from confide.broker.listing_signing import listing_signers, sign_listing, verify_listing
from confide.broker.owner_call import CALL_TYP
from confide.broker.policy_signing import sign_policy
from confide.broker.publish import publish
from confide.broker.release import ReleasedKey
from confide.broker.seen_logs import remote_entries, verify_remote_log
from confide.broker.server import EmbeddedBroker
from confide.broker.store import Store
from confide.canonical import canonical_json
from confide.errors import (
    AlreadyExists,
    InvalidFormat,
    InvalidPolicy,
    Misuse,
    PolicyRefused,
    RevokedKey,
    Rollback,
    SignatureRefused,
    Tampered,
    UnknownKey,
)
from confide.keys.names import KeyName
from confide.keys.passphrase_file import LEAST_COST
from confide.keys.signing import generate_signing_key, key_id, raw_public, sign_jws

SECRET = base64.b64encode(b"s" * 32).decode()


@pytest.fixture
def http(broker):
    context = ssl.create_default_context(cadata=broker.ca_pem.decode())
    with httpx.Client(base_url=broker.url, verify=context, trust_env=False) as client:
        yield client


def call(http, broker, clinic, action="put-key", **changed):
    """Send a well-signed call of the clinic, or one that differs from it in `changed`."""
    path = f"/confide/v1/owners/{changed.get('path_owner', 'clinic')}/{changed.get('path_action', action)}"
    nonce = changed.get("nonce") or http.get("/confide/v1/nonce").headers["replay-nonce"]
    headers = {
        "kid": changed.get("kid", "clinic"),
        "typ": changed.get("typ", CALL_TYP),
        "nonce": nonce,
        "url": changed.get("url", broker.url + path),
        "aud": changed.get("aud", authority_id(broker.ca_pem)),
    }
    headers = {name: value for name, value in headers.items() if value is not None}
    payload = changed.get("payload", {"name": "new", "key": {"current": 1, "versions": {"1": SECRET}}})
    jws = sign_jws(changed.get("key", clinic.signing_key), canonical_json(payload), headers)
    body = changed.get("body") or json.dumps(jws)
    return http.post(path, content=body, headers=changed.get("headers", {}))


def refused(answer, error, status):
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text


def test_put_and_revoke_a_key(owner, clinic):
    owner.put_key("new", ReleasedKey(current=2, versions={"1": SECRET, "2": SECRET}))
    assert clinic.store.key(KeyName("clinic", "new")).current == 2
    owner.revoke_key("new", 1)
    with pytest.raises(RevokedKey):
        owner.put_key("new", ReleasedKey(current=2, versions={"1": SECRET, "2": SECRET}))
    owner.revoke_key("new")
    with pytest.raises(UnknownKey):
        owner.revoke_key("never")
    kinds = [entry["kind"] for entry in owner.audit_entries()]
    assert kinds == ["key-put", "key-revoke", "refusal", "key-revoke", "refusal"]


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (ReleasedKey(current=1, versions={"1": "!"}), InvalidFormat),
        (ReleasedKey(current=1, versions={"one": SECRET}), InvalidFormat),
    ],
)
def test_keys_that_are_none(owner, key, error):
    with pytest.raises(error):
        owner.put_key("new", key)


def test_an_older_key_state_put_back(owner):
    owner.put_key("new", ReleasedKey(current=2, versions={"1": SECRET, "2": SECRET}))
    with pytest.raises(Rollback):
        owner.put_key("new", ReleasedKey(current=1, versions={"1": SECRET}))
    with pytest.raises(AlreadyExists):
        owner.put_key(
            "new", ReleasedKey(current=2, versions={"2": SECRET[::-1].replace("=", "c", 1)[:43] + "="})
        )


def test_policies_only_grow(owner, clinic):
    for serial in (2, 3):
        owner.put_policy(sign_policy(clinic.policy(serial), clinic.signing_key))
    owner.put_policy(sign_policy(clinic.policy(3), clinic.signing_key))  # the very same again
    for old in (clinic.policy(2), clinic.policy(3, measurement="b" * 64)):
        with pytest.raises(Rollback):
            owner.put_policy(sign_policy(old, clinic.signing_key))
    assert clinic.store.policy("clinic").serial == 3


def test_policies_that_are_refused(owner, clinic):
    with pytest.raises(SignatureRefused):
        owner.put_policy(sign_policy(clinic.policy(2), generate_signing_key()))
    with pytest.raises(SignatureRefused):
        owner.put_policy(
            sign_policy(clinic.policy(2, owner="bank").replace(b"clinic/", b"bank/"), clinic.signing_key)
        )
    with pytest.raises(PolicyRefused):
        owner.put_policy(sign_policy(clinic.policy(2).replace(b"2999", b"2021"), clinic.signing_key))
    faulty = sign_jws(clinic.signing_key, b"version = 2", {"kid": "clinic", "typ": "confide-policy+toml"})
    with pytest.raises(InvalidPolicy):
        owner.put_policy(faulty)
    other = sign_jws(clinic.signing_key, clinic.policy(2), {"kid": "clinic", "typ": "something-else"})
    with pytest.raises(SignatureRefused):
        owner.put_policy(other)
    assert clinic.store.policy("clinic").serial == 1


def test_listings_only_grow(owner, clinic):
    owner.put_listing(clinic.listing(5))
    for serial in (1, 4):
        with pytest.raises(Rollback):
            owner.put_listing(clinic.listing(serial))
    with pytest.raises(AlreadyExists):
        owner.put_listing(clinic.listing(1, table="7" * 32))
    assert clinic.store.listing_at("clinic", "data/patients").listing.serial == 5


def test_a_call_that_is_right(http, broker, clinic):
    answer = call(http, broker, clinic)
    assert answer.status_code == 200
    assert answer.headers["replay-nonce"]


def test_a_replayed_call(http, broker, clinic):
    nonce = http.get("/confide/v1/nonce").headers["replay-nonce"]
    assert call(http, broker, clinic, nonce=nonce).status_code == 200
    refused(call(http, broker, clinic, nonce=nonce), "SignatureRefused", 403)


def test_calls_that_are_not_the_owners(http, broker, clinic):
    clinic.store.put_owner("bank", raw_public(generate_signing_key().public_key()))
    other = generate_signing_key()
    port = broker.url.rpartition(":")[2]
    path = "/confide/v1/owners/clinic/put-key"
    for changed in (
        {"key": other},
        {"kid": "bank"},
        {"path_owner": "bank"},
        {"path_owner": "bank", "kid": "bank"},
        {"path_owner": "nobody", "kid": "nobody"},
        {"typ": "confide-policy+toml"},
        {"nonce": "made-up"},
        {"url": broker.url + "/confide/v1/owners/clinic/revoke-key"},
        {"url": f"https://other.example:{port}{path}"},
        {"url": f"https://other.example:{port}{path}", "headers": {"Host": f"other.example:{port}"}},
    ):
        refused(call(http, broker, clinic, **changed), "SignatureRefused", 403)
    with pytest.raises(UnknownKey):
        clinic.store.key(KeyName("clinic", "new"))


def test_a_call_that_another_broker_of_the_same_host_name_passes_on(http, broker, clinic, tmp_path):
    """The other one asks here for the nonce that it gives to the owner, and sends on what the owner signed."""
    path = "/confide/v1/owners/clinic/put-key"
    with (
        contextlib.closing(Store.create(tmp_path / "other.db", type(clinic.provider)())) as store,
        EmbeddedBroker(store) as other,
    ):
        passed_on = {"url": other.url + path, "headers": {"Host": other.url.removeprefix("https://")}}
        for aud in (authority_id(other.ca_pem), None):
            refused(call(http, broker, clinic, aud=aud, **passed_on), "SignatureRefused", 403)


def test_bodies_that_are_no_calls(http, broker, clinic):
    for body in ("{", "[]", "null", "[" * 3000):
        refused(call(http, broker, clinic, body=body), "InvalidFormat", 400)
    for body in ("{}", '{"payload":1,"protected":2,"signature":3}'):
        refused(call(http, broker, clinic, body=body), "SignatureRefused", 403)
    for payload in ({}, {"name": "new"}, {"name": "new", "key": {}, "more": 1}, []):
        refused(call(http, broker, clinic, payload=payload), "InvalidFormat", 400)
    refused(call(http, broker, clinic, path_action="drop-table"), "UnknownKey", 404)


def test_a_key_name_cannot_leave_the_owner(http, broker, clinic):
    for name in ("../bank/x", "a/b", "", "bank/x"):
        answer = call(
            http, broker, clinic, payload={"name": name, "key": {"current": 1, "versions": {"1": SECRET}}}
        )
        refused(answer, "Misuse", 400)


def test_audit_shows_an_owner_its_own_entries_and_proves_them(broker, owner, clinic):
    bank_key = generate_signing_key()
    clinic.store.put_owner("bank", raw_public(bank_key.public_key()))
    bank = OwnerClient(broker.url, broker.ca_pem, "bank", bank_key)
    bank.put_key("money", ReleasedKey(current=1, versions={"1": SECRET}))
    owner.put_key("new", ReleasedKey(current=1, versions={"1": SECRET}))
    assert [entry["fields"]["key"] for entry in bank.audit_entries()] == ["bank/money"]
    (entry,) = owner.audit_entries()
    assert entry["fields"]["key"] == "clinic/new"
    checkpoint, _ = owner.audit_checkpoint()
    size = int(checkpoint.split("\n")[1])
    assert owner.inclusion_proof(entry["index"], size) == clinic.store.audit.inclusion_proof(
        entry["index"], size
    )
    assert owner.consistency_proof(1, size) == clinic.store.audit.consistency_proof(1, size)
    bank.close()


def test_entries_of_a_brokers_log_are_held_against_its_state_and_what_was_seen(
    broker, owner, clinic, client, tmp_path
):
    client.attest("simulated", clinic.host.issue, {"args": "--year 2024"}).release()
    with Home.create(tmp_path / "home", b"passphrase", LEAST_COST) as home:
        entries = remote_entries(owner)
        assert [entry.kind for entry in entries] == ["release"]
        seen = verify_remote_log(home, owner, entries)
        owner.put_key("new", ReleasedKey(current=1, versions={"1": SECRET}))
        assert verify_remote_log(home, owner, remote_entries(owner)).size == seen.size + 1
        (first, second) = remote_entries(owner)
        for forged in (
            replace(first, leaf=first.leaf.replace(b"study", b"other")),
            replace(first, index=second.index),
            replace(second, index=7),
        ):
            with pytest.raises((Tampered, Misuse)):
                verify_remote_log(home, owner, [forged])


@pytest.mark.parametrize("cut", [True, False], ids=["cut", "rewritten"])
def test_a_brokers_log_that_was_cut_or_rewritten_is_refused(broker, owner, clinic, tmp_path, cut):
    for name in ("one", "two"):
        owner.put_key(name, ReleasedKey(current=1, versions={"1": SECRET}))
    with Home.create(tmp_path / "home", b"passphrase", LEAST_COST) as home:
        verify_remote_log(home, owner, remote_entries(owner))
        with clinic.store.transaction():
            for sql in ("DELETE FROM audit_entry", "DELETE FROM audit_node"):
                clinic.store.audit._database.run(sql)
        for name in ("three",) if cut else ("three", "four", "five"):
            owner.put_key(name, ReleasedKey(current=1, versions={"1": SECRET}))
        with pytest.raises(Tampered):
            verify_remote_log(home, owner, remote_entries(owner))


def test_publish_from_a_home_to_a_broker(clinic, tmp_path):
    provider = type(clinic.provider)()
    with contextlib.closing(Store.create(tmp_path / "remote.db", provider)) as remote:
        remote.put_owner("clinic", raw_public(clinic.signing_key.public_key()))
        clinic.store.rotate_key(KeyName("clinic", "patients"))
        clinic.store.revoke_key(KeyName("clinic", "patients"), 1)
        clinic.store.revoke_key(KeyName("clinic", "unrelated"))
        with EmbeddedBroker(remote) as broker:
            client = OwnerClient(broker.url, broker.ca_pem, "clinic", clinic.signing_key)
            for _ in range(2):
                publish(clinic.store, "clinic", client)
            client.close()
        assert remote.policy("clinic").serial == 1
        assert remote.key(KeyName("clinic", "patients")) == clinic.store.key(KeyName("clinic", "patients"))
        assert remote.listing_at("clinic", "data/patients").listing == clinic.listing()


def test_after_publishing_a_home_accepts_what_that_broker_signs_and_no_other(clinic, tmp_path):
    provider = type(clinic.provider)()
    with contextlib.closing(Store.create(tmp_path / "remote.db", provider)) as remote:
        remote.put_owner("clinic", raw_public(clinic.signing_key.public_key()))
        signed = sign_listing(clinic.listing(), listing_key(remote), key_id(listing_key(remote).public_key()))
        with pytest.raises(SignatureRefused):
            verify_listing(signed, listing_signers(clinic.store, "clinic"))
        with EmbeddedBroker(remote) as broker:
            client = OwnerClient(broker.url, broker.ca_pem, "clinic", clinic.signing_key)
            publish(clinic.store, "clinic", client)
            client.close()
    assert verify_listing(signed, listing_signers(clinic.store, "clinic")) == clinic.listing()
    stranger = generate_signing_key()
    for signer in (key_id(stranger.public_key()), "clinic", key_id(listing_key(clinic.store).public_key())):
        forged = sign_listing(clinic.listing(), stranger, signer)
        with pytest.raises(SignatureRefused):
            verify_listing(forged, listing_signers(clinic.store, "clinic"))


def test_the_newest_listing_of_a_location(owner, clinic):
    signers = listing_signers(clinic.store, "clinic")
    assert verify_listing(owner.newest_listing("data/patients"), signers) == clinic.listing()
    newer = clinic.listing(2)
    clinic.store.commit_listing(newer, sign_listing(newer, clinic.signing_key, "clinic"), 1)
    assert verify_listing(owner.newest_listing("data/patients"), signers) == newer
    assert owner.newest_listing("data/others") is None


def test_an_owner_who_is_not_enrolled_learns_it_with_nothing_to_send(broker, clinic, tmp_path):
    with contextlib.closing(Store.create(tmp_path / "own.db", type(clinic.provider)())) as own:
        stranger = OwnerClient(broker.url, broker.ca_pem, "clinic", generate_signing_key())
        with contextlib.closing(stranger), pytest.raises(SignatureRefused):
            publish(own, "clinic", stranger)
