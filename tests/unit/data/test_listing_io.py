import io
import json

import pytest

from confide.canonical import canonical_json
from confide.data.listing import Format, ListedFile, Listing
from confide.data.listing_io import (
    LISTING_NAME,
    check_file,
    check_folder,
    list_file,
    parse_listing,
    read_copy,
    write_copy,
)
from confide.data.sealed import SealedWriter, binding, read_header
from confide.errors import (
    FileChanged,
    FileMissing,
    FileUnlisted,
    InvalidFormat,
    NotEncrypted,
    SignatureRefused,
    Tampered,
    UnknownKey,
)
from confide.keys.material import Keyset


@pytest.fixture
def make(folder):
    def go(*files, **changes):
        fields = {"table": folder, "owner": "clinic", "location": "x", "format": Format.FILES, "serial": 1,
                  "key": "clinic/patients", "files": files}  # fmt: skip
        return Listing(**fields | changes)

    return go


@pytest.fixture
def seal(tmp_path, keyset, key, folder):
    def go(name, data=b"data"):
        with (tmp_path / name).open("w+b") as file:
            with SealedWriter(file, keyset, key, folder) as writer:
                writer.write(data)
            return list_file(name, file, Format.FILES)

    return go


def payload(jws):
    return jws["payload"].encode()


def signed(listing):
    return {"payload": listing.canonical().decode(), "signature": "c2ln"}


def test_entry_of_a_sealed_file(seal, tmp_path):
    listed = seal("a")
    data = (tmp_path / "a").read_bytes()
    assert listed.size == len(data)
    assert listed.binding == binding(read_header(io.BytesIO(data)).raw)


def test_entry_of_no_sealed_file():
    for kind in Format:
        with pytest.raises(NotEncrypted):
            list_file("a", io.BytesIO(b"plain"), kind)


def test_check_file(seal, tmp_path):
    listed = seal("a")
    file = (tmp_path / "a").open("rb")
    check_file(file, listed, Format.FILES)
    for change in ({"size": listed.size + 1}, {"binding": "0" * 64}):
        with pytest.raises(FileChanged, match="a "):
            check_file(file, listed.model_copy(update=change), Format.FILES)
    with pytest.raises(NotEncrypted):
        check_file(file, listed, Format.TABLE)
    file.close()


def test_check_folder(seal, make, tmp_path):
    listing = make(seal("a"), seal("b"))
    check_folder(tmp_path, listing)
    for hidden in ("_SUCCESS", ".a.crc", LISTING_NAME):
        (tmp_path / hidden).write_bytes(b"x")
    check_folder(tmp_path, listing)
    with pytest.raises(FileUnlisted, match="b "):
        check_folder(tmp_path, make(listing.files[0]))
    with pytest.raises(FileMissing, match="c "):
        check_folder(tmp_path, make(*listing.files, ListedFile(path="c", size=1, binding="0" * 64)))
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes())
    with pytest.raises(FileChanged, match="b "):
        check_folder(tmp_path, listing)
    (tmp_path / "b").write_bytes(b"")
    with pytest.raises(NotEncrypted, match="b: "):
        check_folder(tmp_path, listing)


def test_listed_hidden_files_count(seal, make, tmp_path):
    listing = make(seal(".a"))
    check_folder(tmp_path, listing)
    (tmp_path / ".a").unlink()
    with pytest.raises(FileMissing):
        check_folder(tmp_path, listing)


def test_copy(seal, make, tmp_path, keyset):
    for serial in (1, 2):  # replaces the older one
        listing = make(seal("a"), serial=serial)
        write_copy(tmp_path, listing, signed(listing), keyset)
        assert read_copy(tmp_path, keyset, payload) == listing
    assert b"payload" not in (tmp_path / LISTING_NAME).read_bytes()


def test_copy_that_is_not_signed_by_the_owner(make, tmp_path, keyset):
    def refuse(jws):
        raise SignatureRefused("not the owner")

    listing = make()
    write_copy(tmp_path, listing, signed(listing), keyset)
    with pytest.raises(SignatureRefused):
        read_copy(tmp_path, keyset, refuse)


def test_copy_of_another_table(make, tmp_path, keyset):
    here, other = make(), make(table="ff" * 16)
    write_copy(tmp_path, here, signed(other), keyset)
    with pytest.raises(FileChanged):
        read_copy(tmp_path, keyset, payload)
    other_key = make(key="clinic/identifiers")
    write_copy(tmp_path, here, signed(other_key), keyset)
    with pytest.raises(FileChanged):
        read_copy(tmp_path, keyset, payload)


def test_copies_that_are_none(make, tmp_path, keyset, key, folder):
    with pytest.raises(FileMissing):
        read_copy(tmp_path, keyset, payload)
    path = tmp_path / LISTING_NAME
    path.write_bytes(b"{}")
    with pytest.raises(NotEncrypted):
        read_copy(tmp_path, keyset, payload)
    for content in (b"", b"[]", b"no json", b"\xff", b'{"payload": "{}"}', b'{"payload": "x"}'):
        with path.open("wb") as file, SealedWriter(file, keyset, key, folder) as writer:
            writer.write(content)
        with pytest.raises(InvalidFormat):
            read_copy(tmp_path, keyset, payload)
    listing = make()
    write_copy(tmp_path, listing, signed(listing), keyset)
    with pytest.raises(UnknownKey):
        read_copy(tmp_path, Keyset({}), payload)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Tampered):
        read_copy(tmp_path, keyset, payload)
    with pytest.raises(UnknownKey):
        write_copy(tmp_path, make(key="clinic/nothing"), {}, keyset)
    assert sorted(p.name for p in tmp_path.iterdir()) == [LISTING_NAME]


def test_parse_listing(make):
    listing = make(ListedFile(path="größe/名前", size=1, binding="0" * 64))
    good = listing.canonical()
    assert parse_listing(good) == listing
    fields = json.loads(good)
    bad = [
        b"",
        b"[]",
        b"null",
        good + b" ",
        json.dumps(fields).encode(),
        good[:-1],
        good.replace(b"x", b"\xff", 1),
    ]
    for change in (
        {"version": 2}, {"table": "x"}, {"owner": "bank"}, {"key": "clinic"}, {"key": "NOT A KEY"}, {"serial": 0},
        {"serial": "1"}, {"format": "csv"}, {"more": 1}, {"location": ""}, {"columns": {"a": "b"}},
        {"files": [{"path": "../x", "size": 1, "binding": "0" * 64}]},
        {"files": [{"path": "/x", "size": 1, "binding": "0" * 64}]},
        {"files": [{"path": "x", "size": -1, "binding": "0" * 64}]},
        {"files": [{"path": "x", "size": 1, "binding": "0" * 63}]},
        {"files": [{"path": n, "size": 1, "binding": "0" * 64} for n in "ba"]},
        {"files": [{"path": n, "size": 1, "binding": "0" * 64} for n in "aa"]},
    ):  # fmt: skip
        bad.append(canonical_json(fields | change))
    for document in bad:
        with pytest.raises(InvalidFormat):
            parse_listing(document)
