"""Recovery keys of owners and of two machines that restore, made once: Argon2id takes its time."""

import pytest

from confide.keys.passphrase_file import LEAST_COST
from confide.keys.recovery.key import RecoveryKey
from confide.keys.recovery.recover import split_root

ROOT = bytes(range(32))
STORE = "0f" * 16


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """By name: ana, ben, cleo are owners; machine restores; other has nothing to do with it."""
    folder = tmp_path_factory.mktemp("keys")
    names = ("ana", "ben", "cleo", "machine", "other")
    return {name: RecoveryKey.create(folder / name, b"passphrase", LEAST_COST) for name in names}


@pytest.fixture(scope="session")
def owners(keys):
    return {name: keys[name].public for name in ("ana", "ben", "cleo")}


@pytest.fixture(scope="session")
def given(owners):
    """A set of 2 of 3."""
    return split_root(ROOT, STORE, 2, owners)
