import errno
import io
import os
import random

import pytest

from confide.data import atomic
from confide.data.atomic import SteadyFile, atomic_file, atomic_folder, open_beneath
from confide.errors import AlreadyExists, Misuse, StorageUnavailable


def test_file_appears_at_the_end(tmp_path):
    target = tmp_path / "f"
    with atomic_file(target) as file:
        file.write(b"data")
        assert not target.exists()
    assert target.read_bytes() == b"data"
    assert os.listdir(tmp_path) == ["f"]


def test_folder_appears_at_the_end(tmp_path):
    target = tmp_path / "d"
    with atomic_folder(target) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "f").write_bytes(b"data")
        assert not target.exists()
    assert (target / "sub" / "f").read_bytes() == b"data"
    assert os.listdir(tmp_path) == ["d"]


@pytest.mark.parametrize("make", [atomic_file, atomic_folder])
@pytest.mark.parametrize(
    ("error", "expected"),
    [(KeyError(), KeyError), (KeyboardInterrupt(), KeyboardInterrupt),
     (OSError(errno.ENOSPC, "No space left on device"), StorageUnavailable),
     (OSError(errno.EIO, "Input/output error"), StorageUnavailable)],
)  # fmt: skip
def test_failure_leaves_nothing(make, error, expected, tmp_path):
    with pytest.raises(expected), make(tmp_path / "x"):
        raise error
    assert os.listdir(tmp_path) == []


def test_no_space_is_named(tmp_path):
    with pytest.raises(StorageUnavailable, match="No space left"), atomic_file(tmp_path / "x"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_real_full_disk():
    with pytest.raises(OSError, match="No space"), open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


@pytest.mark.parametrize("make", [atomic_file, atomic_folder])
def test_nothing_is_overwritten(make, tmp_path):
    target = tmp_path / "x"
    for create in (
        lambda: target.write_text("mine"),
        lambda: target.symlink_to("/nonexistent"),
        target.mkdir,
    ):
        create()
        with pytest.raises(AlreadyExists), make(target):
            pytest.fail("must not begin")
        target.rmdir() if target.is_dir() else target.unlink()


@pytest.mark.parametrize("make", [atomic_file, atomic_folder])
def test_something_that_appears_meanwhile_stays(make, tmp_path):
    target = tmp_path / "x"
    with pytest.raises(AlreadyExists), make(target):
        target.write_text("mine")
    assert target.read_text() == "mine"
    assert os.listdir(tmp_path) == ["x"]


def test_overwrite(tmp_path):
    target = tmp_path / "x"
    target.write_text("old")
    with pytest.raises(KeyError), atomic_file(target, overwrite=True) as file:  # noqa: PT012
        file.write(b"new")
        raise KeyError
    assert target.read_text() == "old"
    with atomic_file(target, overwrite=True) as file:
        file.write(b"new")
    assert target.read_text() == "new"
    folder = tmp_path / "d"
    for content in ("one", "two"):
        with atomic_folder(folder, overwrite=True) as made:
            (made / content).write_text(content)
    assert os.listdir(folder) == ["two"]
    assert sorted(os.listdir(tmp_path)) == ["d", "x"]


def test_mode(tmp_path):
    with atomic_file(tmp_path / "x", mode=0o600):
        pass
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("make", [atomic_file, atomic_folder])
def test_no_parent(make, tmp_path):
    with pytest.raises(StorageUnavailable), make(tmp_path / "no" / "x"):
        pass


def test_steady_writing_writes_all_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_STEADY_BYTES", 10_000)
    data = random.Random(3).randbytes(100_001)
    with open(tmp_path / "f", "xb", buffering=0) as file:
        steady = SteadyFile(file)
        for start in range(0, len(data), 7000):
            piece = data[start : start + 7000]
            assert steady.write(piece) == len(piece)
    assert (tmp_path / "f").read_bytes() == data


def test_steady_writing_goes_on_after_short_writes():
    class Short(io.RawIOBase):
        written = b""

        def write(self, data):
            self.written += bytes(data[:3])
            return len(data[:3])

    file = Short()
    assert SteadyFile(file).write(b"0123456789") == 10
    assert file.written == b"0123456789"


def test_steady_writing_to_a_full_disk():
    with open("/dev/full", "wb", buffering=0) as file, pytest.raises(OSError) as caught:
        SteadyFile(file).write(b"x")
    assert caught.value.errno == errno.ENOSPC


def test_a_file_beneath_a_folder_is_opened(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/c").write_bytes(b"text")
    with open_beneath(tmp_path, "a/b/c") as file:
        assert file.read() == b"text"
    with pytest.raises(FileNotFoundError):
        open_beneath(tmp_path, "a/b/d")


@pytest.mark.parametrize("path", ["link", "link/x", "linked/c", "a", "a/c/d", "pipe"])
def test_no_link_folder_or_pipe_is_opened(tmp_path, path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/c").write_bytes(b"text")
    (tmp_path / "link").symlink_to("/etc/passwd")
    (tmp_path / "linked").symlink_to("a")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Misuse):
        open_beneath(tmp_path, path)
