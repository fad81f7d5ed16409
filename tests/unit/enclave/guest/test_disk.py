"""Disks of images: one image comes out, or none."""

from __future__ import annotations

import hashlib
import io
import tarfile

import pytest

from confide.canonical import sha256_hex
from confide.enclave.guest.disk import unpack_disk, write_disk
from confide.enclave.image import IMAGE_FILE, Image, ImageFile, Limits
from confide.enclave.verify import verify_image
from confide.errors import ConfideError, FileChanged, InvalidImage, Tampered

FILES = {"app/job.py": b"print()\n", "lib/" + "long/" * 40 + "x": b"x", "usr/bin/bwrap": b"\x7fELF"}


@pytest.fixture
def image(tmp_path):
    """An image folder, and its measurement."""
    files = []
    for path, content in sorted(FILES.items()):
        target = tmp_path / "image/root" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        executable = path.startswith("usr/bin")
        target.chmod(0o755 if executable else 0o644)
        digest = hashlib.sha256(content).hexdigest()
        files.append(ImageFile(path=path, size=len(content), sha256=digest, executable=executable))
    document = Image(
        name="job",
        profile="python",
        argv=("/python",),
        program="/app/job.py",
        limits=Limits(memory_mib=64, scratch_mib=1),
        brokers={},
        files=tuple(files),
    ).canonical()
    (tmp_path / "image" / IMAGE_FILE).write_bytes(document)
    return tmp_path / "image", sha256_hex(document)


@pytest.fixture
def disk(image, tmp_path):
    write_disk(image[0], tmp_path / "disk")
    return (tmp_path / "disk").read_bytes()


@pytest.fixture
def unpack(image, tmp_path):
    def unpacked(raw, digest=image[1]):
        (tmp_path / "new").mkdir(exist_ok=True)
        unpack_disk(io.BytesIO(raw), digest, tmp_path / "new")
        return tmp_path / "new"

    return unpacked


def rewritten(disk, change):
    """The disk with its list of (entry, content) changed."""
    with tarfile.open(fileobj=io.BytesIO(disk)) as old:
        entries = [(member, old.extractfile(member).read()) for member in old]
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as new:
        for member, content in change(entries):
            member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def test_what_comes_out_verifies(image, disk, unpack):
    assert verify_image(unpack(disk)).measurement == image[1]


def test_the_same_image_gives_the_same_bytes(image, disk, tmp_path):
    for path in (image[0] / "root").rglob("*.py"):
        path.touch()
    write_disk(image[0], tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == disk
    assert len(disk) % 512 == 0


def test_a_disk_of_another_image(disk, unpack):
    with pytest.raises(Tampered, match="was started for"):
        unpack(disk, "0" * 64)


def test_nothing_of_another_image_is_unpacked(disk, unpack, tmp_path):
    with pytest.raises(Tampered):
        unpack(disk, "0" * 64)
    assert list((tmp_path / "new").iterdir()) == []


def link(entries):
    entries[1][0].type, entries[1][0].linkname = tarfile.SYMTYPE, "/etc/passwd"
    return entries


def renamed(path):
    def change(entries):
        entries[1][0].name = path
        return entries

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: [],
        lambda entries: entries[1:],
        lambda entries: entries[:-1],
        lambda entries: [entries[0], *reversed(entries[1:])],
        lambda entries: [*entries, entries[-1]],
        lambda entries: [entries[0], entries[1], *entries[1:]],
        lambda entries: [entries[0], (entries[1][0], entries[1][1] + b"#"), *entries[2:]],
        lambda entries: [entries[0], (entries[1][0], entries[1][1][:-1]), *entries[2:]],
        link,
        renamed("root/app/job2.py"),
        renamed("../root/app/job.py"),
        renamed("/root/app/job.py"),
        renamed("root/app/../app/job.py"),
    ],
)
def test_another_list_of_files(disk, unpack, change):
    with pytest.raises(InvalidImage):
        unpack(rewritten(disk, change))


def test_a_changed_byte_is_found_by_the_verification(disk, unpack):
    changed = rewritten(disk, lambda entries: [entries[0], (entries[1][0], b"print9\n\n"), *entries[2:]])
    with pytest.raises(FileChanged):
        verify_image(unpack(changed))


@pytest.mark.parametrize("raw", [b"", b"no archive", bytes(10240), b"\xff" * 1024])
def test_no_archive(unpack, raw):
    with pytest.raises(ConfideError):
        unpack(raw)


@pytest.mark.parametrize("cut", [1, 511, 512, 700, 1500])
def test_a_cut_disk(disk, unpack, cut):
    with pytest.raises(ConfideError):
        unpack(disk[:cut])
