import datetime

import pytest
from cryptography.hazmat.primitives.serialization import pkcs12

from confide.flink.stores import write_store

NOW = datetime.datetime(2026, 11, 22, tzinfo=datetime.UTC)


def test_key_and_trust_of_one_run(tmp_path):
    store = write_store(tmp_path / "flink", NOW)
    own = pkcs12.load_pkcs12(store.keys.read_bytes(), store.password.encode())
    trusted = pkcs12.load_pkcs12(store.trusted.read_bytes(), store.password.encode())
    assert own.key is not None
    assert [each.certificate for each in trusted.additional_certs] == [own.cert.certificate]


def test_only_its_own_user_reads_it(tmp_path):
    store = write_store(tmp_path / "flink", NOW)
    for path, mode in ((tmp_path / "flink", 0o700), (store.keys, 0o600), (store.trusted, 0o600)):
        assert path.stat().st_mode & 0o777 == mode


def test_another_password_opens_nothing(tmp_path):
    store = write_store(tmp_path / "flink", NOW)
    for path in (store.keys, store.trusted):
        with pytest.raises(ValueError, match="password"):
            pkcs12.load_pkcs12(path.read_bytes(), b"changeit")


def test_another_run_another_key(tmp_path):
    first, second = (write_store(tmp_path / name, NOW) for name in ("a", "b"))
    assert first.keys.read_bytes() != second.keys.read_bytes()
    assert first.password != second.password


def test_representation_shows_no_password(tmp_path):
    store = write_store(tmp_path / "flink", NOW)
    assert store.password not in repr(store)
