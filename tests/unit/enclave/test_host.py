from __future__ import annotations

from pathlib import Path

import pytest

from confide.broker.home import HOST_KEY_NAME
from confide.enclave.simulated.host import host_id, host_key
from confide.errors import InvalidFormat, Refused, StorageUnavailable


def test_key_is_made_once_and_closed_to_others(tmp_path: Path) -> None:
    key = host_key(tmp_path)
    assert (tmp_path / HOST_KEY_NAME).stat().st_mode & 0o777 == 0o600
    assert host_id(host_key(tmp_path)) == host_id(key)
    assert len(host_id(key)) == 64


def test_key_that_others_may_read(tmp_path: Path) -> None:
    host_key(tmp_path)
    (tmp_path / HOST_KEY_NAME).chmod(0o640)
    with pytest.raises(Refused):
        host_key(tmp_path)


@pytest.mark.parametrize("content", ["", "zz", "00" * 31, "00" * 33])
def test_file_that_holds_no_key(tmp_path: Path, content: str) -> None:
    (tmp_path / HOST_KEY_NAME).write_text(content)
    (tmp_path / HOST_KEY_NAME).chmod(0o600)
    with pytest.raises(InvalidFormat):
        host_key(tmp_path)


def test_home_that_is_not_there_is_made_closed_to_others(tmp_path: Path) -> None:
    host_key(tmp_path / "absent")
    assert (tmp_path / "absent").stat().st_mode & 0o777 == 0o700


def test_home_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnavailable):
        host_key(tmp_path / "file")
