"""What is true of a store in a SQLite file only."""

import contextlib
import os
import sqlite3
import stat

import pytest

from confide.broker.store import Store
from confide.errors import InvalidFormat, StorageUnavailable
from confide.keys.material import NamedKey
from confide.keys.names import KeyName
from confide.keys.passphrase_file import LEAST_COST, PassphraseFile

PATIENTS = KeyName("clinic", "patients")


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    return PassphraseFile.create(tmp_path_factory.mktemp("keys") / "root.json", b"x", LEAST_COST)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def store(path, provider):
    made = Store.create(path, provider)
    yield made
    made.close()


def test_file_is_the_owners_alone(store, path):
    for each in path.parent.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600, each


def test_no_folder(tmp_path, provider):
    with pytest.raises(StorageUnavailable):
        Store.create(tmp_path / "no" / "store.db", provider)


def test_no_store(tmp_path, provider):
    with pytest.raises(StorageUnavailable):
        Store.open(tmp_path / "store.db", provider)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"", b"not a database", os.urandom(9000), b"SQLite format 3\0" + bytes(100)]
)
def test_not_a_store(tmp_path, provider, content):
    (tmp_path / "store.db").write_bytes(content)
    with pytest.raises(InvalidFormat):
        Store.open(tmp_path / "store.db", provider)


def test_another_programs_database(tmp_path, provider):
    connection = sqlite3.connect(tmp_path / "other.db")
    connection.execute("CREATE TABLE meta (name, value)")
    connection.close()
    with pytest.raises(InvalidFormat):
        Store.open(tmp_path / "other.db", provider)


def test_nothing_secret_is_readable_in_the_file(store, path, provider):
    store.put_secret("tls", "ca", b"PLANTED-SECRET-VALUE")
    store.put_policy("clinic", 1, {"payload": "PLANTED"}, b"PLANTED-POLICY")
    secret = store.create_key(PATIENTS).secrets[1]
    store.close()
    for each in path.parent.iterdir():
        data = each.read_bytes()
        assert b"PLANTED" not in data
        assert secret not in data
        assert store._root not in data


@pytest.mark.parametrize("call", ["revoke", "take over", "revoke in a larger transaction"])
def test_revoked_secret_is_in_no_file_any_more(store, path, call):
    store.create_key(PATIENTS)
    key = store.rotate_key(PATIENTS)
    cell = store._database.row("SELECT sealed FROM key_version WHERE version = 1")[0]
    assert any(cell in each.read_bytes() for each in path.parent.iterdir())
    with contextlib.ExitStack() as outer:
        if call == "revoke in a larger transaction":
            outer.enter_context(store.transaction())
        if call == "take over":
            store.put_key(NamedKey(PATIENTS, 2, {2: key.secrets[2]}, frozenset({1})))
        else:
            store.revoke_key(PATIENTS, 1)
        store.audit.append({"kind": "key.revoked"})
    assert not any(cell in each.read_bytes() for each in path.parent.iterdir())
