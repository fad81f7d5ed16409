import json
import stat

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from confide.errors import AlreadyExists, InvalidFormat, Misuse, StorageUnavailable, Tampered, WrongPassphrase
from confide.keys.passphrase_file import LEAST_COST, PassphraseFile
from confide.keys.provider import open_provider

PASSPHRASE = b"correct horse battery staple"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "root.json"


@pytest.fixture
def provider(path):
    return PassphraseFile.create(path, PASSPHRASE, LEAST_COST)


def test_opened_file_unwraps_what_the_created_one_wrapped(provider, path):
    wrapped = provider.wrap(b"secret", b"context")
    assert PassphraseFile.open(path, PASSPHRASE).unwrap(wrapped, b"context") == b"secret"


def test_by_uri(provider, path):
    wrapped = provider.wrap(b"secret", b"context")
    opened = open_provider(path.as_uri(), {"passphrase": PASSPHRASE})
    assert opened.unwrap(wrapped, b"context") == b"secret"


def test_file_is_the_owners_alone(provider, path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_else_is_left_behind(provider, path):
    provider.change_passphrase(b"other", LEAST_COST)
    assert [each.name for each in path.parent.iterdir()] == ["root.json"]


def test_repr_shows_no_key(provider):
    assert provider._root.hex() not in repr(provider)
    assert repr(provider._root) not in repr(provider)


@pytest.mark.parametrize("wrong", [b"x", PASSPHRASE + b"\n", PASSPHRASE[:-1], PASSPHRASE.upper()])
def test_wrong_passphrase(provider, path, wrong):
    with pytest.raises(WrongPassphrase):
        PassphraseFile.open(path, wrong)


@pytest.mark.parametrize("size", [0, 4097])
def test_passphrase_of_no_sensible_length(path, size):
    with pytest.raises(Misuse):
        PassphraseFile.create(path, bytes(size), LEAST_COST)
    assert not path.exists()


def test_change_of_passphrase_keeps_the_root_key(provider, path):
    wrapped = provider.wrap(b"secret", b"context")
    provider.change_passphrase(b"new", LEAST_COST)
    assert PassphraseFile.open(path, b"new").unwrap(wrapped, b"context") == b"secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(WrongPassphrase):
        PassphraseFile.open(path, PASSPHRASE)


def test_create_never_replaces(provider, path):
    before = path.read_bytes()
    with pytest.raises(AlreadyExists):
        PassphraseFile.create(path, b"other", LEAST_COST)
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["root.json"]


def test_missing_file(path):
    with pytest.raises(StorageUnavailable):
        PassphraseFile.open(path, PASSPHRASE)


def test_missing_folder(tmp_path):
    with pytest.raises(StorageUnavailable):
        PassphraseFile.create(tmp_path / "no" / "root.json", PASSPHRASE, LEAST_COST)


def test_other_context_or_file(provider, tmp_path):
    wrapped = provider.wrap(b"secret", b"context")
    with pytest.raises(Tampered):
        provider.unwrap(wrapped, b"other")
    other = PassphraseFile.create(tmp_path / "other.json", PASSPHRASE, LEAST_COST)
    with pytest.raises(Tampered):
        other.unwrap(wrapped, b"context")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_kib", 256 * 1024 + 1),
        ("memory_kib", 2**40),
        ("memory_kib", 1024),
        ("memory_kib", "65536"),
        ("memory_kib", True),
        ("iterations", 1),
        ("iterations", 10**9),
        ("lanes", 0),
        ("lanes", 10**6),
        ("surprise", 1),
    ],
)
def test_cost_out_of_bounds_is_not_even_tried(provider, path, name, value):
    document = json.loads(path.read_bytes())
    document["kdf"]["cost"][name] = value
    path.write_text(json.dumps(document))
    with pytest.raises(InvalidFormat):
        PassphraseFile.open(path, PASSPHRASE)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "confide/root-key/v2"},
        {"format": None},
        {"wrapped": ""},
        {"wrapped": "!" * 80},
        {"wrapped": "A" * 84},
        {"kdf": {"name": "scrypt"}},
        {"kdf": None},
        {"more": 1},
    ],
)
def test_malformed_document(provider, path, change):
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **change}))
    with pytest.raises(InvalidFormat):
        PassphraseFile.open(path, PASSPHRASE)


def test_changed_salt_or_cost_or_key(provider, path):
    document = json.loads(path.read_bytes())
    changes = [
        {
            "wrapped": "A" + document["wrapped"][1:]
            if document["wrapped"][0] != "A"
            else "B" + document["wrapped"][1:]
        },
        {"kdf": {**document["kdf"], "salt": "0" * 32}},
        {"kdf": {**document["kdf"], "cost": {"memory_kib": 19456, "iterations": 3, "lanes": 1}}},
    ]
    for change in changes:
        path.write_text(json.dumps({**document, **change}))
        with pytest.raises(WrongPassphrase):
            PassphraseFile.open(path, PASSPHRASE)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.binary(max_size=200))
def test_arbitrary_bytes(tmp_path, data):
    (tmp_path / "junk").write_bytes(data)
    with pytest.raises(InvalidFormat):
        PassphraseFile.open(tmp_path / "junk", PASSPHRASE)


def test_huge_file(path):
    path.write_bytes(b" " * 5000)
    with pytest.raises(InvalidFormat):
        PassphraseFile.open(path, PASSPHRASE)


@pytest.mark.parametrize(
    "uri",
    [
        "root.json",
        "vault://somewhere",
        "file:root.json",
        "file://host/root.json",
        "file:///root.json?passphrase=x",
        "file:///root.json#x",
        "",
    ],
)
def test_uri_of_no_provider(uri):
    with pytest.raises(Misuse):
        open_provider(uri, {"passphrase": PASSPHRASE})


def test_uri_without_passphrase(provider, path):
    with pytest.raises(Misuse):
        open_provider(path.as_uri(), {})


def test_vector(path):
    """The one in docs/formats/root-key.md."""
    path.write_text(
        '{"format":"confide/root-key/v1","kdf":{"cost":{"iterations":2,"lanes":1,"memory_kib":19456},'
        '"name":"argon2id","salt":"000102030405060708090a0b0c0d0e0f"},"wrapped":"AAECAwQFBgcICQoL'
        'YcPst0qw36ezzYx8VGtU0Ycnt9jQMEigB5RYbsro+MgTxcnL1+U+dpuAdhp1aRL9"}'
    )
    assert PassphraseFile.open(path, PASSPHRASE)._root == bytes(range(32))
