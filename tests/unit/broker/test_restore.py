"""A store that lay elsewhere becomes a home again by its root key, and by nothing else."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from confide.broker.checkpoint import open_checkpoint
from confide.broker.home import Home
from confide.broker.store import Store
from confide.errors import (
    AlreadyExists,
    InvalidFormat,
    Misuse,
    ProviderRefused,
    Refused,
    StorageUnavailable,
    Tampered,
    UnknownKey,
    WrongPassphrase,
)
from confide.keys.names import KeyName
from confide.keys.passphrase_file import LEAST_COST, PassphraseFile
from confide.keys.provider import PROVIDERS
from confide.keys.recovery.key import RecoveryKey
from confide.keys.recovery.recover import answer, combine_answers
from confide.keys.signing import generate_signing_key, raw_public

from ...stores import meddle

KEY = KeyName("clinic", "patients")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return {
        name: RecoveryKey.create(folder / name, b"passphrase", LEAST_COST)
        for name in ("ana", "ben", "machine")
    }


@pytest.fixture
def lost(tmp_path, keys):
    """The file of a store, and its root key as two owners give it back. Home and passphrase are gone."""
    with Home.create(tmp_path / "old", b"old passphrase", LEAST_COST) as home:
        home.store.put_secret("x", "y", b"kept")
        home.store.put_owner("clinic", raw_public(generate_signing_key().public_key()))
        home.store.create_key(KEY)
        home.store.audit.append({"kind": "test"})
        given = home.share_root(2, {name: keys[name].public for name in ("ana", "ben")})
    (tmp_path / "elsewhere").mkdir()
    copy = tmp_path / "elsewhere/store.db"
    shutil.copyfile(tmp_path / "old/store.db", copy)
    answers = [answer(given, keys[name], keys["machine"].public) for name in ("ana", "ben")]
    return copy, combine_answers(given, answers, keys["machine"])


def restore(tmp_path, lost, **changes) -> Home:
    given = {"copy": lost[0], "recovered": lost[1]} | changes
    return Home.restore(tmp_path / "new", b"new passphrase", cost=LEAST_COST, **given)


def of_store(lost, store_id: str):
    return replace(lost[1], given=lost[1].given.model_copy(update={"store": store_id}))


def test_everything_is_there_again(tmp_path, lost):
    with Home.open(tmp_path / "old", b"old passphrase") as old:
        secrets, before = old.store.key(KEY).secrets, old.store.audit.checkpoint()
        verifier = old.store.audit.verifier_key()
    with restore(tmp_path, lost) as home:
        assert home.store.secret("x", "y") == b"kept"
        assert home.store.key(KEY).secrets == secrets
        assert home.store.audit.verify(open_checkpoint(before, verifier)).size == 3
        home.store.audit.append({"kind": "test"})
    with Home.open(tmp_path / "new", b"new passphrase") as home:
        assert home.store.audit.verify(open_checkpoint(before, verifier)).size == 4


def test_the_audit_log_tells_every_owner(tmp_path, lost):
    with restore(tmp_path, lost) as home:
        split, restored = home.store.audit.newest(2)
    digest = lost[1].given.digest()
    assert (split.kind, restored.kind) == ("recovery-split", "recovery-restore")
    shares = [f"{share.owner} {share.key}" for share in lost[1].given.shares]
    assert split.fields == {"owners": ["clinic"], "set": digest, "threshold": 2, "shares": shares}
    assert restored.fields == {"owners": ["clinic"], "set": digest, "shares": ["ana", "ben"]}


def test_the_home_is_whole_and_private(tmp_path, lost):
    restore(tmp_path, lost).close()
    assert sorted(each.name for each in (tmp_path / "new").iterdir()) == ["root.json", "store.db"]
    assert all(
        each.stat().st_mode & 0o077 == 0 for each in ((tmp_path / "new"), *(tmp_path / "new").iterdir())
    )
    assert sorted(each.name for each in tmp_path.iterdir()) == ["elsewhere", "new", "old"]


def test_the_old_passphrase_is_of_no_use(tmp_path, lost):
    restore(tmp_path, lost).close()
    with pytest.raises(WrongPassphrase):
        Home.open(tmp_path / "new", b"old passphrase")
    old = PassphraseFile.open(tmp_path / "old/root.json", b"old passphrase")
    with pytest.raises(Tampered):
        Store.open(tmp_path / "new/store.db", old)
    with closing(sqlite3.connect(tmp_path / "old/store.db")) as database:
        wrapped = database.execute("SELECT value FROM meta WHERE name = 'root'").fetchone()[0]
    for each in (tmp_path / "new").iterdir():
        assert wrapped not in each.read_bytes()


def test_the_copy_is_left_as_it_was(tmp_path, lost):
    before = lost[0].read_bytes()
    restore(tmp_path, lost).close()
    assert lost[0].read_bytes() == before
    assert [each.name for each in lost[0].parent.iterdir()] == ["store.db"]


def test_a_copy_of_a_broker_that_was_killed(tmp_path, lost):
    """What it acknowledged last lies in the write-ahead log."""
    old = Home.open(tmp_path / "old", b"old passphrase")
    old.store.put_secret("x", "last", b"acknowledged")
    assert (tmp_path / "old/store.db-wal").stat().st_size
    for name in ("store.db", "store.db-wal"):
        shutil.copyfile(tmp_path / "old" / name, lost[0].with_name(name))
    old.close()
    with restore(tmp_path, lost) as home:
        assert home.store.secret("x", "last") == b"acknowledged"


def test_under_a_provider_of_its_own(tmp_path, lost):
    uri = (tmp_path / "elsewhere/root.json").as_uri()
    restore(tmp_path, lost, key_provider=uri).close()
    assert not (tmp_path / "new/root.json").exists()
    Home.open(tmp_path / "new", b"new passphrase").close()


def refused(tmp_path, lost, error, **changes):
    before = sorted(each.name for each in tmp_path.iterdir())
    with pytest.raises(error):
        restore(tmp_path, lost, **changes)
    assert sorted(each.name for each in tmp_path.iterdir()) == before


def test_another_root_key(tmp_path, lost):
    right = lost[1].root
    for wrong in (bytes([right[0] ^ 1]) + right[1:], bytes(32)):
        refused(tmp_path, lost, Tampered, recovered=replace(lost[1], root=wrong))


def test_another_store(tmp_path, lost):
    Home.create(tmp_path / "other", b"x", LEAST_COST).close()
    refused(tmp_path, lost, Refused, copy=tmp_path / "other/store.db")
    with closing(sqlite3.connect(tmp_path / "other/store.db")) as database:
        other = database.execute("SELECT value FROM meta WHERE name = 'id'").fetchone()[0].hex()
    refused(tmp_path, lost, Refused, recovered=of_store(lost, other))
    refused(tmp_path, lost, Tampered, recovered=of_store(lost, other), copy=tmp_path / "other/store.db")


def test_another_store_under_the_same_id(tmp_path, lost):
    Home.create(tmp_path / "other", b"x", LEAST_COST).close()
    meddle(
        tmp_path / "other/store.db",
        "UPDATE meta SET value = ? WHERE name = 'id'",
        bytes.fromhex(lost[1].given.store),
    )
    refused(tmp_path, lost, Tampered, copy=tmp_path / "other/store.db")


def test_a_store_without_its_id_or_its_audit_key(tmp_path, lost):
    meddle(lost[0], "DELETE FROM secret")
    refused(tmp_path, lost, UnknownKey)
    meddle(lost[0], "DELETE FROM meta WHERE name = 'id'")
    refused(tmp_path, lost, InvalidFormat)


@pytest.mark.parametrize("keep", [0, 100, 4096, 20_000])
def test_a_store_cut_short(tmp_path, lost, keep):
    whole = lost[0].read_bytes()
    assert keep < len(whole)
    lost[0].write_bytes(whole[:keep])
    refused(tmp_path, lost, InvalidFormat)


def test_a_store_copied_while_it_changed(tmp_path, lost):
    """One page is of another moment."""
    data = bytearray(lost[0].read_bytes())
    size = 4096
    used = [at for at in range(size, len(data), size) if any(data[at : at + size])]
    data[used[-1] : used[-1] + size] = data[used[0] : used[0] + size]
    lost[0].write_bytes(data)
    refused(tmp_path, lost, InvalidFormat)


def test_no_store_at_all(tmp_path, lost):
    refused(tmp_path, lost, StorageUnavailable, copy=tmp_path / "absent")
    refused(tmp_path, lost, StorageUnavailable, copy=tmp_path)
    lost[0].write_bytes(b"Sqlite" * 1000)
    refused(tmp_path, lost, InvalidFormat)


def test_a_home_that_is_there_is_kept(tmp_path, lost):
    Home.create(tmp_path / "new", b"its own", LEAST_COST).close()
    before = (tmp_path / "new/store.db").read_bytes()
    refused(tmp_path, lost, AlreadyExists)
    assert (tmp_path / "new/store.db").read_bytes() == before
    Home.open(tmp_path / "new", b"its own").close()


def test_an_empty_passphrase(tmp_path, lost):
    with pytest.raises(Misuse):
        Home.restore(tmp_path / "new", b"", *lost, LEAST_COST)
    assert not (tmp_path / "new").exists()


def test_in_any_database(where, tmp_path, keys):
    old = PassphraseFile.create(tmp_path / "old.json", b"x", LEAST_COST)
    new = PassphraseFile.create(tmp_path / "new.json", b"x", LEAST_COST)
    store = Store.create(where, old)
    store.put_secret("x", "y", b"kept")
    given = store.share_root(2, {name: keys[name].public for name in ("ana", "ben")})
    store.close()
    answers = [answer(given, keys[name], keys["machine"].public) for name in ("ana", "ben")]
    root = combine_answers(given, answers, keys["machine"]).root
    with pytest.raises(Tampered):
        Store.recover(where, new, bytes(32), given.store)
    Store.open(where, old).close()  # nothing was changed
    Store.recover(where, new, root, given.store).close()
    store = Store.open(where, new)
    assert store.secret("x", "y") == b"kept"
    store.close()
    with pytest.raises(Tampered):
        Store.open(where, old)


@pytest.mark.exhaustive
def test_a_home_of_a_database(postgres, tmp_path, keys):
    url = postgres.url(postgres.new_database())
    with Home.create(tmp_path / "old", b"old passphrase", LEAST_COST, store=url) as home:
        home.store.put_secret("x", "y", b"kept")
        given = home.share_root(2, {name: keys[name].public for name in ("ana", "ben")})
    answers = [answer(given, keys[name], keys["machine"].public) for name in ("ana", "ben")]
    lost = url, combine_answers(given, answers, keys["machine"])
    refused(tmp_path, lost, Tampered, recovered=replace(lost[1], root=bytes(32)))
    refused(tmp_path, lost, Refused, recovered=of_store(lost, "0" * 32))
    refused(tmp_path, lost, InvalidFormat, copy=postgres.url(postgres.new_database()))
    (tmp_path / "new").mkdir()
    (tmp_path / "new/file").touch()
    refused(tmp_path, lost, AlreadyExists)
    Home.open(tmp_path / "old", b"old passphrase").close()  # nothing was changed
    shutil.rmtree(tmp_path / "new")
    restore(tmp_path, lost).close()
    with Home.open(tmp_path / "new", b"new passphrase") as home:
        assert home.store.secret("x", "y") == b"kept"
        assert home.store.audit.newest(1)[0].kind == "recovery-restore"
    with pytest.raises(Tampered):
        Home.open(tmp_path / "old", b"old passphrase")


@pytest.mark.parametrize("uri", ["pkcs11:token=t;object=o", "vault://h:1/transit/k"])
def test_a_root_key_that_a_device_or_server_guards(tmp_path, keys, uri):
    with Home.create(tmp_path / "home", b"x", LEAST_COST) as home:
        (tmp_path / "home/key-provider").write_text(uri + "\n")
        with pytest.raises(ProviderRefused, match=uri.partition(":")[0]):
            home.share_root(2, {name: keys[name].public for name in ("ana", "ben")})


def test_every_provider_says_whether_its_root_keys_may_be_shared():
    assert {name for name, scheme in PROVIDERS.items() if scheme.recoverable} == {"file", "sealed"}
