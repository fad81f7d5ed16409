import os
import random
import shutil

import pytest

from confide.data.folders import decrypt_file, decrypt_files, encrypt_files
from confide.data.listing import Format
from confide.data.listing_io import LISTING_NAME, check_folder, read_copy
from confide.errors import (
    AlreadyExists,
    FileChanged,
    FileMissing,
    FileUnlisted,
    Misuse,
    NotEncrypted,
    RevokedKey,
    Tampered,
    UnknownKey,
)
from confide.keys.material import Keyset, NamedKey

RNG = random.Random(7)
TREE = {
    "a.txt": b"alpha",
    "leer/über/名前.bin": RNG.randbytes(100_000),
    ".hidden": b"dot",
    "__init__.py": b"",
    "sub/.git/config": b"x",
    "sub/big": RNG.randbytes(2_500_000),
    "with space, and 'quotes'": b"q",
}


@pytest.fixture
def tree(tmp_path):
    for name, data in TREE.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "in"


@pytest.fixture
def encrypt(tmp_path, keyset, key):
    def go(source, target="out", **options):
        return encrypt_files(source, tmp_path / target, keyset, key, location="data/f", **options)

    return go


def contents(root):
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_tree_and_back(tree, encrypt, tmp_path, keyset):
    seen = []
    listing = encrypt(tree, progress=lambda *now: seen.append(now))
    assert [file.path for file in listing.files] == sorted(TREE)
    assert listing.format is Format.FILES
    assert seen[-1] == (sum(map(len, TREE.values())),) * 2
    check_folder(tmp_path / "out", listing)
    for name, data in contents(tmp_path / "out").items():
        assert data.startswith(b"CONFIDE\x01")
        assert len(TREE[name]) < 3 or TREE[name] not in data
    decrypt_files(tmp_path / "out", listing, keyset, tmp_path / "back")
    assert contents(tmp_path / "back") == TREE
    assert all(p.stat().st_mode & 0o077 == 0 for p in (tmp_path / "back").rglob("*") if p.is_file())
    assert (tmp_path / "back").stat().st_mode & 0o077 == 0
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".confide")]


def test_one_file(tree, encrypt, tmp_path, keyset):
    listing = encrypt(tree / "a.txt")
    assert [file.path for file in listing.files] == ["a.txt"]
    decrypt_file(tmp_path / "out", listing, "a.txt", keyset, tmp_path / "plain")
    assert (tmp_path / "plain").read_bytes() == b"alpha"
    with pytest.raises(AlreadyExists):
        decrypt_file(tmp_path / "out", listing, "a.txt", keyset, tmp_path / "plain")
    with pytest.raises(Misuse):
        decrypt_file(tmp_path / "out", listing, "b.txt", keyset, tmp_path / "plain2")


def test_empty_folder(tmp_path, encrypt, keyset):
    (tmp_path / "in").mkdir()
    listing = encrypt(tmp_path / "in")
    assert listing.files == ()
    decrypt_files(tmp_path / "out", listing, keyset, tmp_path / "back")
    assert contents(tmp_path / "back") == {}


def test_sources_that_are_refused(tree, encrypt, tmp_path):
    def with_link(link, to):
        link.symlink_to(to)
        with pytest.raises(Misuse, match="symbolic link"):
            encrypt(tree)
        link.unlink()

    with_link(tree / "sub" / "link", tree / "a.txt")
    with_link(tree / "folder-link", tree / "sub")
    with_link(tree / "broken", tree / "nothing")
    (tmp_path / "link").symlink_to(tree)
    with pytest.raises(Misuse, match="symbolic link"):
        encrypt(tmp_path / "link")
    os.mkfifo(tree / "pipe")
    with pytest.raises(Misuse, match="regular"):
        encrypt(tree)
    (tree / "pipe").unlink()
    for name in (LISTING_NAME, "back\\slash", os.fsdecode(b"latin\xe9")):
        (tree / name).write_bytes(b"x")
        with pytest.raises(Misuse):
            encrypt(tree)
        (tree / name).unlink()
    with pytest.raises(Misuse):
        encrypt(tmp_path / "nothing")
    assert not (tmp_path / "out").exists()


def test_overwrite_only_if_told(tree, encrypt, tmp_path, keyset):
    first = encrypt(tree)
    with pytest.raises(AlreadyExists):
        encrypt(tree)
    second = encrypt(tree, overwrite=True, folder_id=first.table, serial=2)
    check_folder(tmp_path / "out", second)
    with pytest.raises(FileChanged):
        check_folder(tmp_path / "out", first)
    (tmp_path / "back").mkdir()
    with pytest.raises(AlreadyExists):
        decrypt_files(tmp_path / "out", second, keyset, tmp_path / "back")


def test_changes_of_the_location(tree, encrypt, tmp_path, keyset):
    listing = encrypt(tree)
    out, saved = tmp_path / "out", tmp_path / "saved"
    shutil.copytree(out, saved)

    def refused(error, match):
        with pytest.raises(error, match=match):
            decrypt_files(out, listing, keyset, tmp_path / "back")
        assert not (tmp_path / "back").exists()
        shutil.rmtree(out)
        shutil.copytree(saved, out)

    (out / "a.txt").unlink()
    refused(FileMissing, "a.txt")
    (out / "a.txt").write_bytes(b"plain")
    refused(NotEncrypted, "a.txt")
    shutil.copy(out / "sub/.git/config", out / "a.txt")
    refused(FileChanged, "a.txt")
    shutil.copy(out / "a.txt", out / "sub" / "b.txt")
    refused(FileUnlisted, r"sub/b.txt")
    (out / "sub" / "link").symlink_to(saved)
    refused(FileUnlisted, r"sub/link")
    with (out / "sub/big").open("ab") as file:
        file.write(b"\0")
    refused(FileChanged, "sub/big")
    with (out / "sub/big").open("r+b") as file:
        file.truncate(1_100_000)
    refused(FileChanged, "sub/big")
    with (out / "sub/big").open("r+b") as file:
        file.seek(1_500_000)
        file.write(b"changed")
    refused(Tampered, "sub/big")
    shutil.rmtree(out / "leer")
    refused(FileMissing, "leer")
    (out / "_scratch").mkdir()
    (out / "_scratch" / "x").write_bytes(b"")
    decrypt_files(out, listing, keyset, tmp_path / "back")


def test_keys(tree, encrypt, tmp_path, key):
    listing = encrypt(tree)
    revoked = Keyset({key: NamedKey(key, None, {}, frozenset({1, 2}))})
    for held, error in ((Keyset({}), UnknownKey), (revoked, RevokedKey)):
        with pytest.raises(error):
            decrypt_files(tmp_path / "out", listing, held, tmp_path / "back")
        with pytest.raises(error):
            encrypt_files(tree, tmp_path / "other", held, key, location="x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


def test_table_listing_is_refused(tree, encrypt, tmp_path, keyset):
    table = encrypt(tree).model_copy(update={"format": Format.TABLE})
    with pytest.raises(Misuse):
        decrypt_files(tmp_path / "out", table, keyset, tmp_path / "back")


def test_copy_of_the_listing(tree, encrypt, tmp_path, keyset):
    listing = encrypt(tree, sign=lambda made: {"payload": made.canonical().decode()})
    assert read_copy(tmp_path / "out", keyset, lambda jws: jws["payload"].encode()) == listing
    decrypt_files(tmp_path / "out", listing, keyset, tmp_path / "back")
