import os
import stat

import pytest

from confide.broker.home import Home
from confide.errors import AlreadyExists, Misuse, Refused, StorageUnavailable, Tampered, WrongPassphrase
from confide.keys.passphrase_file import LEAST_COST, PassphraseFile


@pytest.fixture
def path(tmp_path):
    with Home.create(tmp_path / "home", b"passphrase", LEAST_COST) as home:
        home.store.put_secret("x", "y", b"kept")
    return tmp_path / "home"


def test_home_opens_again(path):
    with Home.open(path, b"passphrase") as home:
        assert home.store.secret("x", "y") == b"kept"


def test_home_is_the_owners_alone(path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert {each.name for each in path.iterdir()} >= {"root.json", "store.db"}
    for each in path.iterdir():
        assert stat.S_IMODE(each.stat().st_mode) == 0o600


def test_nothing_is_left_beside_it(path):
    assert [each.name for each in path.parent.iterdir()] == ["home"]


def test_parents_are_made(tmp_path):
    Home.create(tmp_path / "a" / "b", b"x", LEAST_COST).close()


def test_empty_folder_becomes_a_home(tmp_path):
    (tmp_path / "home").mkdir(mode=0o755)
    Home.create(tmp_path / "home", b"x", LEAST_COST).close()
    assert stat.S_IMODE((tmp_path / "home").stat().st_mode) == 0o700


def test_folder_of_a_host_key_becomes_a_home_and_keeps_it(tmp_path):
    (tmp_path / "home").mkdir(mode=0o700)
    (tmp_path / "home/simulated-host.key").write_text("key")
    (tmp_path / "home/simulated-host.key").chmod(0o600)
    Home.create(tmp_path / "home", b"x", LEAST_COST).close()
    assert (tmp_path / "home/simulated-host.key").read_text() == "key"
    assert [each.name for each in tmp_path.iterdir()] == ["home"]


def test_folder_of_a_host_key_and_more_stays_as_it_is(tmp_path):
    (tmp_path / "home").mkdir(mode=0o700)
    for name in ("simulated-host.key", "notes"):
        (tmp_path / "home" / name).write_text(name)
    with pytest.raises(AlreadyExists):
        Home.create(tmp_path / "home", b"x", LEAST_COST)
    assert {each.name for each in (tmp_path / "home").iterdir()} == {"simulated-host.key", "notes"}
    assert (tmp_path / "home/simulated-host.key").read_text() == "simulated-host.key"


def test_change_of_passphrase(path):
    with Home.open(path, b"passphrase") as home:
        home.provider.change_passphrase(b"new", LEAST_COST)
    with Home.open(path, b"new") as home:
        assert home.store.secret("x", "y") == b"kept"


def test_wrong_passphrase(path):
    with pytest.raises(WrongPassphrase):
        Home.open(path, b"other")


def test_never_replaces(path, tmp_path):
    with pytest.raises(AlreadyExists):
        Home.create(path, b"other", LEAST_COST)
    (tmp_path / "file").write_text("x")
    with pytest.raises(AlreadyExists):
        Home.create(tmp_path / "file", b"other", LEAST_COST)
    assert {each.name for each in tmp_path.iterdir()} == {"home", "file"}
    Home.open(path, b"passphrase").close()


def test_failed_creation_leaves_nothing(tmp_path):
    with pytest.raises(Misuse):
        Home.create(tmp_path / "home", b"", LEAST_COST)
    assert list(tmp_path.iterdir()) == []


def test_parent_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageUnavailable):
        Home.create(tmp_path / "file" / "home", b"x", LEAST_COST)


@pytest.mark.parametrize("name", ["nothing", "file"])
def test_no_home(tmp_path, name):
    (tmp_path / "file").write_text("x")
    with pytest.raises(Misuse):
        Home.open(tmp_path / name, b"x")


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o701, 0o770, 0o777])
def test_folder_that_others_may_enter(path, mode):
    path.chmod(mode)
    with pytest.raises(Refused):
        Home.open(path, b"passphrase")


@pytest.mark.parametrize("name", ["root.json", "store.db"])
def test_file_that_others_may_read(path, name):
    (path / name).chmod(0o640)
    with pytest.raises(Refused):
        Home.open(path, b"passphrase")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a folder away")
def test_folder_of_another_user(path):
    os.chown(path, 12345, 12345)
    with pytest.raises(Refused):
        Home.open(path, b"passphrase")


@pytest.mark.parametrize("name", ["root.json", "store.db"])
def test_half_a_home(path, name):
    (path / name).unlink()
    with pytest.raises(StorageUnavailable):
        Home.open(path, b"passphrase")


def test_root_key_of_another_home(path):
    (path / "root.json").unlink()
    PassphraseFile.create(path / "root.json", b"passphrase", LEAST_COST)
    with pytest.raises(Tampered):
        Home.open(path, b"passphrase")
