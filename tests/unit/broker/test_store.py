import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from confide.broker.store import Store
from confide.data.listing import Format, ListedFile, Listing
from confide.errors import (
    AlreadyExists,
    AttestationRefused,
    Conflict,
    InvalidFormat,
    Misuse,
    RevokedKey,
    Rollback,
    SignatureRefused,
    StorageUnavailable,
    Tampered,
    UnknownKey,
)
from confide.keys.material import NamedKey
from confide.keys.names import KeyName, KeyVersion
from confide.keys.passphrase_file import LEAST_COST, PassphraseFile
from confide.keys.signing import key_id

from ...stores import meddle

PATIENTS = KeyName("clinic", "patients")
ALICE, BOB = (Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in (1, 2))
ALICE_PUBLIC, BOB_PUBLIC = (key.public_key().public_bytes_raw() for key in (ALICE, BOB))
NOW = 1_800_000_000


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    return PassphraseFile.create(tmp_path_factory.mktemp("keys") / "root.json", b"x", LEAST_COST)


@pytest.fixture
def store(where, provider):
    made = Store.create(where, provider, lambda: NOW)
    yield made
    made.close()


@pytest.fixture
def reopened(store, where, provider):
    """The same store again, as another process would see it."""
    again = Store.open(where, provider, lambda: NOW)
    yield again
    again.close()


# --- the database


def test_create_never_replaces(store, where, provider):
    with pytest.raises(AlreadyExists):
        Store.create(where, provider)


def test_store_of_a_newer_version(store, where, provider):
    with store.transaction():
        store._database._set_version(99)
    with pytest.raises(InvalidFormat, match="99"):
        Store.open(where, provider)


def test_another_root_key(store, where, tmp_path):
    other = PassphraseFile.create(tmp_path / "other.json", b"x", LEAST_COST)
    with pytest.raises(Tampered):
        Store.open(where, other)


def test_root_of_another_store_of_the_same_provider(store, where, tmp_path, provider):
    other = Store.create(tmp_path / "other.db", provider)
    (root,) = other._database.row("SELECT value FROM meta WHERE name = 'root'")
    other.close()
    meddle(where, "UPDATE meta SET value = ? WHERE name = 'root'", root)
    with pytest.raises(Tampered):
        Store.open(where, provider)


def test_closed_store(store):
    store.close()
    with pytest.raises(StorageUnavailable):
        store.owners()


# --- transactions


def test_inner_transaction_is_undone_with_the_outer(store):
    with pytest.raises(UnknownKey), store.transaction():  # noqa: PT012 - the block is what is tested
        with store.transaction():
            store.create_key(PATIENTS)
        store.audit.append({"kind": "key.created"})
        store.key(KeyName("clinic", "none"))
    assert store.keys() == []
    assert store.audit.size() == 0


def test_failure_that_is_swallowed_still_undoes_everything(store):
    def swallow():
        with store.transaction():
            store.put_secret("x", "before", b"1")
            try:
                with store.transaction():
                    store.put_secret("x", "inside", b"2")
                    raise KeyError
            except KeyError:
                pass

    with pytest.raises(Conflict):
        swallow()
    with pytest.raises(UnknownKey):
        store.secret("x", "before")
    store.put_secret("x", "after", b"3")
    assert store.secret("x", "after") == b"3"


def test_threads_share_a_store(store):
    def work(number):
        for turn in range(10):
            with store.transaction():
                store.put_secret("thread", f"{number}-{turn}", b"%d" % number)
                store.audit.append({"kind": "turn", "thread": number})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.audit.verify().size == 60
    for number in range(6):
        assert store.secret("thread", f"{number}-9") == b"%d" % number
        turns = store.audit.entries(kind="turn", fields={"thread": number})
        assert len(turns) == 10


def test_two_openings_of_one_store_see_each_other(store, reopened):
    for _ in range(5):
        store.audit.append({"kind": "one"})
        reopened.audit.append({"kind": "other"})
    assert store.audit.verify().size == reopened.audit.verify().size == 10


# --- owners and hosts


def test_owners(store, reopened):
    store.put_owner("lab", BOB_PUBLIC)
    store.put_owner("clinic", ALICE_PUBLIC)
    store.put_owner("clinic", ALICE_PUBLIC)
    assert reopened.owner("clinic") == ALICE_PUBLIC
    assert list(reopened.owners().items()) == [("clinic", ALICE_PUBLIC), ("lab", BOB_PUBLIC)]


def test_pinned_owner_keeps_the_key(store):
    store.put_owner("clinic", ALICE_PUBLIC)
    with pytest.raises(SignatureRefused):
        store.put_owner("clinic", BOB_PUBLIC)
    with pytest.raises(SignatureRefused):
        store.put_owner_signing_key("clinic", BOB.private_bytes_raw())
    assert store.owner("clinic") == ALICE_PUBLIC


def test_unknown_owner(store):
    with pytest.raises(SignatureRefused):
        store.owner("nobody")


@pytest.mark.parametrize("name", ["", "Clinic", "a/b", "../x", "a" * 65])
def test_owner_of_no_name(store, name):
    with pytest.raises(Misuse):
        store.put_owner(name, ALICE_PUBLIC)


def test_owner_with_a_key_of_no_kind(store):
    with pytest.raises(InvalidFormat):
        store.put_owner("clinic", b"short")


def test_owner_signing_key(store, reopened):
    store.put_owner_signing_key("clinic", ALICE.private_bytes_raw())
    assert reopened.owner_signing_key("clinic") == ALICE.private_bytes_raw()
    assert reopened.owner("clinic") == ALICE_PUBLIC
    with pytest.raises(UnknownKey):
        store.owner_signing_key("lab")


def test_owners_keys_cannot_be_swapped_in_the_file(store, where):
    store.put_owner("clinic", ALICE_PUBLIC)
    store.put_owner("mallory", BOB_PUBLIC)
    meddle(where, "UPDATE owner SET sealed = (SELECT sealed FROM owner WHERE name = 'mallory')")
    with pytest.raises(Tampered):
        store.owner("clinic")
    with pytest.raises(Tampered):
        store.owners()


def test_hosts(store, reopened):
    host_id = store.enroll_host(ALICE_PUBLIC)
    assert host_id == store.enroll_host(ALICE_PUBLIC) == key_id(ALICE.public_key())
    assert reopened.host(host_id) == ALICE_PUBLIC
    assert reopened.hosts() == [host_id]
    store.remove_host(host_id)
    assert reopened.hosts() == []
    with pytest.raises(AttestationRefused):
        reopened.host(host_id)
    with pytest.raises(AttestationRefused):
        store.remove_host(host_id)


def test_host_cannot_be_enrolled_in_the_file(store, where):
    meddle(where, "INSERT INTO host VALUES (?, 0, ?)", key_id(BOB.public_key()), bytes(60))
    with pytest.raises(Tampered):
        store.host(key_id(BOB.public_key()))


# --- secrets


def test_secrets(store, reopened):
    store.put_secret("token-key", "2026", b"one")
    store.put_secret("token-key", "2026", b"two")
    assert reopened.secret("token-key", "2026") == b"two"
    for missing in (("token-key", "2027"), ("tls", "2026")):
        with pytest.raises(UnknownKey):
            store.secret(*missing)


@pytest.mark.parametrize(
    ("kind", "name"), [("", "x"), ("a/b", "x"), ("A", "x"), ("x", ""), ("x", "a b"), ("x", "/a")]
)
def test_secret_of_no_name(store, kind, name):
    with pytest.raises(Misuse):
        store.put_secret(kind, name, b"")


def test_secret_too_large(store):
    with pytest.raises(Misuse):
        store.put_secret("x", "y", bytes(65537))


@pytest.mark.parametrize(
    "change",
    [
        "substr(sealed, 1, 10)",
        "substr(sealed, 1, length(sealed) - 1)",
        "zeroblob(0)",
        "CAST(sealed || x'00' AS BLOB)",
        "(SELECT sealed FROM secret WHERE name = 'b')",
        "(SELECT sealed FROM secret WHERE kind = 'other')",
        "(SELECT sealed FROM key_version)",
    ],
)
def test_cut_or_swapped_cell(store, where, change):
    for kind, name in (("kind", "a"), ("kind", "b"), ("other", "a")):
        store.put_secret(kind, name, b"same value")
    store.create_key(PATIENTS)
    meddle(where, f"UPDATE secret SET sealed = {change} WHERE kind = 'kind' AND name = 'a'")
    with pytest.raises(Tampered):
        store.secret("kind", "a")


# --- keys


def test_create_and_rotate(store, reopened):
    first = store.create_key(PATIENTS)
    assert first.current == 1
    version, wrapped = first.wrap(b"data key", b"c")
    second = store.rotate_key(PATIENTS)
    assert second.current == 2
    assert second.secrets[1] == first.secrets[1] != second.secrets[2]
    assert reopened.key(PATIENTS) == second
    assert reopened.key(PATIENTS).unwrap(version, wrapped, b"c") == b"data key"


def test_create_twice(store):
    store.create_key(PATIENTS)
    with pytest.raises(AlreadyExists):
        store.create_key(PATIENTS)
    store.revoke_key(PATIENTS)
    with pytest.raises(AlreadyExists):
        store.create_key(PATIENTS)


@pytest.mark.parametrize("call", ["key", "rotate_key", "revoke_key"])
def test_unknown_key(store, call):
    with pytest.raises(UnknownKey):
        getattr(store, call)(PATIENTS)


def test_unknown_version(store):
    store.create_key(PATIENTS)
    with pytest.raises(UnknownKey):
        store.revoke_key(PATIENTS, 2)


def test_revoked_version_is_of_no_use(store):
    wrapped = store.create_key(PATIENTS).wrap(b"data key", b"c")
    store.rotate_key(PATIENTS)
    store.revoke_key(PATIENTS, 1)
    store.revoke_key(PATIENTS, 1)
    key = store.key(PATIENTS)
    assert (key.current, set(key.secrets), key.revoked) == (2, {2}, {1})
    with pytest.raises(RevokedKey):
        key.unwrap(wrapped[0], wrapped[1], b"c")


def test_revoked_current_version_waits_for_rotation(store):
    store.create_key(PATIENTS)
    store.revoke_key(PATIENTS, 1)
    with pytest.raises(RevokedKey):
        store.key(PATIENTS).wrap(b"x", b"c")
    assert store.rotate_key(PATIENTS).wrap(b"x", b"c")[0] == KeyVersion(PATIENTS, 2)


def test_revoked_key_stays_revoked(store):
    key = store.create_key(PATIENTS)
    store.rotate_key(PATIENTS)
    store.revoke_key(PATIENTS)
    assert store.key(PATIENTS) == NamedKey(PATIENTS, None, {}, frozenset({1, 2}))
    with pytest.raises(RevokedKey):
        store.rotate_key(PATIENTS)
    with pytest.raises(RevokedKey):
        store.put_key(key)
    with pytest.raises(RevokedKey):
        store.put_key(NamedKey(PATIENTS, 3, {3: bytes(32)}))


def test_summaries(store):
    store.create_key(PATIENTS)
    store.rotate_key(PATIENTS)
    store.revoke_key(PATIENTS, 1)
    store.create_key(KeyName("clinic", "logs"))
    store.create_key(KeyName("lab", "models"))
    assert [str(each.name) for each in store.keys()] == ["clinic/logs", "clinic/patients", "lab/models"]
    assert [str(each.name) for each in store.keys("lab")] == ["lab/models"]
    assert store.keys("nobody") == []
    patients = store.keys("clinic")[1]
    assert (patients.current, patients.revoked) == (2, None)
    assert [(v.version, v.created, v.revoked) for v in patients.versions] == [(1, NOW, NOW), (2, NOW, None)]


ONE, TWO, THREE = (bytes([n]) * 32 for n in (1, 2, 3))


def test_take_over(store, reopened):
    store.put_key(NamedKey(PATIENTS, 1, {1: ONE}))
    store.put_key(NamedKey(PATIENTS, 2, {1: ONE, 2: TWO}))
    store.put_key(NamedKey(PATIENTS, 2, {1: ONE, 2: TWO}))
    assert reopened.key(PATIENTS) == NamedKey(PATIENTS, 2, {1: ONE, 2: TWO})
    store.put_key(NamedKey(PATIENTS, 3, {3: THREE}, frozenset({1})))
    assert reopened.key(PATIENTS) == NamedKey(PATIENTS, 3, {2: TWO, 3: THREE}, frozenset({1}))


def test_take_over_refuses_to_bring_back_a_revoked_version(store):
    store.put_key(NamedKey(PATIENTS, 2, {1: ONE, 2: TWO}))
    store.revoke_key(PATIENTS, 1)
    with pytest.raises(RevokedKey):
        store.put_key(NamedKey(PATIENTS, 3, {1: ONE, 2: TWO, 3: THREE}))
    assert set(store.key(PATIENTS).secrets) == {2}


def test_take_over_remembers_what_was_revoked_before_it_came(store):
    store.put_key(NamedKey(PATIENTS, 2, {2: TWO}, frozenset({1})))
    with pytest.raises(RevokedKey):
        store.put_key(NamedKey(PATIENTS, 2, {1: ONE, 2: TWO}))


def test_take_over_refuses_another_secret(store):
    store.put_key(NamedKey(PATIENTS, 1, {1: ONE}))
    with pytest.raises(AlreadyExists):
        store.put_key(NamedKey(PATIENTS, 2, {1: THREE, 2: TWO}))
    assert store.key(PATIENTS) == NamedKey(PATIENTS, 1, {1: ONE})


@pytest.mark.parametrize("current", [1, None])
def test_take_over_refuses_to_go_back(store, current):
    store.put_key(NamedKey(PATIENTS, 2, {1: ONE, 2: TWO}))
    with pytest.raises(Rollback):
        store.put_key(NamedKey(PATIENTS, current, {1: ONE}))


@pytest.mark.parametrize(
    "key",
    [
        NamedKey(PATIENTS, None, {}),
        NamedKey(PATIENTS, 1, {1: b"short"}),
        NamedKey(PATIENTS, 2, {1: ONE}),
        NamedKey(PATIENTS, 0, {0: ONE}),
        NamedKey(PATIENTS, 1, {1: ONE}, frozenset({1})),
    ],
)
def test_take_over_of_what_is_no_key(store, key):
    with pytest.raises(Misuse):
        store.put_key(key)
    assert store.keys() == []


def test_versions_cannot_be_swapped_in_the_file(store, where):
    store.create_key(PATIENTS)
    store.rotate_key(PATIENTS)
    meddle(where, "UPDATE key_version SET sealed = (SELECT sealed FROM key_version WHERE version = 1)")
    with pytest.raises(Tampered):
        store.key(PATIENTS)


# --- policies


def test_policies(store, reopened):
    store.put_policy("lab", 7, {"payload": "l"}, b"lab")
    store.put_policy("clinic", 1, {"payload": "a"}, b"one")
    store.put_policy("clinic", 3, {"payload": "b"}, "drei — three".encode())
    policy = reopened.policy("clinic")
    assert (policy.owner, policy.serial, policy.jws, policy.toml) == (
        "clinic",
        3,
        {"payload": "b"},
        "drei — three".encode(),
    )
    assert [each.owner for each in reopened.policies()] == ["clinic", "lab"]
    assert reopened.policy("nobody") is None


def test_same_policy_again(store):
    for _ in range(2):
        store.put_policy("clinic", 1, {"payload": "a"}, b"one")
    assert store.policy("clinic").serial == 1


@pytest.mark.parametrize(("serial", "toml"), [(5, b"other"), (4, b"five"), (4, b"four"), (1, b"x")])
def test_older_policy(store, serial, toml):
    store.put_policy("clinic", 5, {}, b"five")
    with pytest.raises(Rollback):
        store.put_policy("clinic", serial, {}, toml)
    assert store.policy("clinic").toml == b"five"


@pytest.mark.parametrize(
    ("owner", "serial", "toml"), [("clinic", 0, b""), ("No", 1, b""), ("clinic", 1, b"\xff")]
)
def test_policy_that_makes_no_sense(store, owner, serial, toml):
    with pytest.raises(Misuse):
        store.put_policy(owner, serial, {}, toml)


@pytest.mark.parametrize("change", ["serial = 9", "owner = 'lab'", "sealed = zeroblob(60)"])
def test_policy_changed_in_the_file(store, where, change):
    store.put_policy("clinic", 1, {}, b"one")
    meddle(where, f"UPDATE policy SET {change}")
    with pytest.raises(Tampered):
        store.policies()


# --- listings


def a_listing(serial=1, table="0" * 32, location="data/patients", owner="clinic", files=2):
    listed = tuple(ListedFile(path=f"part-{n}", size=n, binding="ab" * 32) for n in range(files))
    return Listing(
        table=table,
        owner=owner,
        location=location,
        format=Format.TABLE,
        serial=serial,
        key=f"{owner}/patients",
        columns={"ssn": "clinic/ids"},
        files=listed,
    )


def test_listings(store, reopened):
    store.commit_listing(a_listing(1), {"payload": "1"}, 0)
    store.commit_listing(a_listing(2, files=3), {"payload": "2"}, 1)
    newest = reopened.listing("clinic", "0" * 32)
    assert newest.listing == a_listing(2, files=3)
    assert newest.jws == {"payload": "2"}
    assert reopened.listing_at("clinic", "data/patients") == newest
    assert reopened.listings() == reopened.listings("clinic") == [newest]
    assert reopened.listing("lab", "0" * 32) is None
    assert reopened.listing_at("clinic", "data/other") is None


def test_same_location_and_table_of_two_owners(store):
    store.commit_listing(a_listing(owner="clinic"), {}, 0)
    store.commit_listing(a_listing(owner="lab"), {}, 0)
    assert [each.listing.owner for each in store.listings()] == ["clinic", "lab"]


def test_repeated_commit_changes_nothing(store):
    for _ in range(2):
        store.commit_listing(a_listing(1), {}, 0)
    assert store.listing("clinic", "0" * 32).listing.serial == 1


@pytest.mark.parametrize("base", [0, 1, 3])
def test_stale_base(store, base):
    for serial in (1, 2):
        store.commit_listing(a_listing(serial), {}, serial - 1)
    with pytest.raises(Conflict):
        store.commit_listing(a_listing(base + 1, files=5), {}, base)
    assert store.listing("clinic", "0" * 32).listing.serial == 2


@pytest.mark.parametrize("serial", [1, 2])
def test_older_listing(store, serial):
    for each in (1, 2):
        store.commit_listing(a_listing(each), {}, each - 1)
    with pytest.raises(Rollback):
        store.commit_listing(a_listing(serial, files=1), {}, 2)


@pytest.mark.parametrize("serial", [2, 7])
def test_serial_that_is_not_the_next(store, serial):
    with pytest.raises(Misuse):
        store.commit_listing(a_listing(serial), {}, 0)


def test_two_tables_at_one_location(store):
    store.commit_listing(a_listing(1), {}, 0)
    with pytest.raises(AlreadyExists):
        store.commit_listing(a_listing(1, table="1" * 32), {}, 0)


def test_one_table_at_two_locations(store):
    store.commit_listing(a_listing(1), {}, 0)
    with pytest.raises(AlreadyExists):
        store.commit_listing(a_listing(2, location="data/elsewhere"), {}, 1)


@pytest.mark.parametrize("change", ["serial = 9", "location = 'data/b'", "table_id = 'x'", "owner = 'lab'"])
def test_listing_changed_in_the_file(store, where, change):
    store.commit_listing(a_listing(1), {}, 0)
    meddle(where, f"UPDATE listing SET {change}")
    with pytest.raises(Tampered):
        store.listings()


def test_racing_commits_let_one_through(store, reopened):
    results = []

    def commit(to, files):
        try:
            to.commit_listing(a_listing(1, files=files), {}, 0)
            results.append("committed")
        except Conflict:
            results.append("conflict")

    threads = [threading.Thread(target=commit, args=(to, n)) for n, to in enumerate([store, reopened] * 3, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["committed"] + ["conflict"] * 5


def test_collateral_is_kept_replaced_and_listed(store, reopened):
    assert store.collateral("b") is None
    store.put_collateral("b", b"one", source="pcs", expires=NOW + 5)
    store.put_collateral("a", b"two", source="file", expires=NOW + 6)
    store.put_collateral("b", b"three", source="pccs", expires=NOW + 7)
    kept = reopened.collateral("b")
    assert (kept.document, kept.source, kept.obtained, kept.expires) == (b"three", "pccs", NOW, NOW + 7)
    assert [each.name for each in reopened.collaterals()] == ["a", "b"]


def test_a_failed_refresh_is_remembered_until_one_succeeds(store):
    store.put_collateral_failure("a", "nothing kept")
    assert store.collaterals() == []
    store.put_collateral("a", b"one", source="pcs", expires=NOW + 5)
    store.put_collateral_failure("a", "status 500")
    assert (store.collateral("a").failed, store.collateral("a").failure) == (NOW, "status 500")
    assert store.collateral("a").document == b"one"
    store.put_collateral("a", b"two", source="pcs", expires=NOW + 5)
    assert (store.collateral("a").failed, store.collateral("a").failure) == (None, "")


def test_collateral_of_another_name_does_not_read(store, where):
    store.put_collateral("a", b"one", source="pcs", expires=NOW + 5)
    meddle(where, "UPDATE collateral SET name = 'b'")
    with pytest.raises(Tampered):
        store.collateral("b")
    with pytest.raises(Tampered):
        store.collaterals()
