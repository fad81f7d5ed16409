import errno
import gc
import io
import os
import random

import pytest

from confide.data.sealed import SealedReader, SealedWriter
from confide.data.segments import HEADER_BYTES, PLAIN_BYTES, SEGMENT_BYTES
from confide.errors import Misuse, NotEncrypted, RevokedKey, Tampered, UnknownKey
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName

FIRST = PLAIN_BYTES - HEADER_BYTES
DATA = random.Random(1).randbytes(3 * SEGMENT_BYTES + 12345)


def seal(data, keyset, key, folder, chunk=1 << 30):
    out = io.BytesIO()
    with SealedWriter(out, keyset, key, folder) as writer:
        for start in range(0, len(data), chunk):
            assert writer.write(data[start : start + chunk]) == len(data[start : start + chunk])
        assert writer.tell() == len(data)
    assert writer.sealed_bytes == len(out.getvalue())
    return out.getvalue()


@pytest.fixture(scope="module")
def sealed_data():
    name = KeyName("clinic", "patients")
    return seal(DATA, Keyset({name: NamedKey(name, 1, {1: b"\x01" * 32})}), name, "00" * 16)


@pytest.mark.parametrize("chunk", [7777, FIRST, PLAIN_BYTES, SEGMENT_BYTES, 1 << 30])
def test_round_trip_in_pieces(chunk, keyset, key, folder):
    reader = SealedReader(io.BytesIO(seal(DATA, keyset, key, folder, chunk)), keyset, expected_folder=folder)
    assert reader.size == len(DATA)
    pieces = iter(lambda: reader.read(chunk), b"")
    assert b"".join(pieces) == DATA


def test_random_access(sealed_data, keyset):
    rng = random.Random(2)
    with SealedReader(io.BytesIO(sealed_data), keyset) as reader:
        for _ in range(60):
            position, size = rng.randrange(len(DATA) + 10), rng.choice([0, 1, 100, SEGMENT_BYTES, 3_000_000])
            assert reader.seek(position) == reader.tell() == position
            assert reader.read(size) == DATA[position : position + size]


def test_seek_like_a_file(sealed_data, keyset):
    reader = SealedReader(io.BytesIO(sealed_data), keyset)
    assert reader.seek(-5, os.SEEK_END) == len(DATA) - 5
    assert reader.read() == DATA[-5:]
    assert reader.seek(-2, os.SEEK_CUR) == len(DATA) - 2
    assert reader.seek(10, os.SEEK_END) == len(DATA) + 10
    assert reader.read(1) == b""
    for offset, whence in [(-1, 0), (-len(DATA) - 1, 2), (0, 7)]:
        with pytest.raises(ValueError, match="outside"):
            reader.seek(offset, whence)


def test_text_and_buffering_on_top(keyset, key, folder):
    out = io.BytesIO()
    lines = [f"{i},Zoë {i}\n" for i in range(100_000)]
    with SealedWriter(out, keyset, key, folder) as writer:
        text = io.TextIOWrapper(io.BufferedWriter(writer), encoding="utf-8")
        text.writelines(lines)
        text.close()
    reader = SealedReader(io.BytesIO(out.getvalue()), keyset)
    assert list(io.TextIOWrapper(io.BufferedReader(reader, 1 << 16), encoding="utf-8")) == lines


def test_every_seal_differs(keyset, key, folder):
    assert seal(b"same", keyset, key, folder)[-20:] != seal(b"same", keyset, key, folder)[-20:]


@pytest.mark.parametrize("cut", [1, 15, 16, 100, SEGMENT_BYTES, len(DATA) % SEGMENT_BYTES, 2 * SEGMENT_BYTES])
def test_truncated_file_does_not_open(cut, sealed_data, keyset):
    with pytest.raises(Tampered):
        SealedReader(io.BytesIO(sealed_data[:-cut]), keyset)


def test_cut_at_every_segment_boundary(sealed_data, keyset):
    start = len(sealed_data) % SEGMENT_BYTES
    body = 10 + int.from_bytes(sealed_data[8:10], "big")
    assert start
    for segment in (1, 2, 3):
        with pytest.raises(Tampered):
            SealedReader(io.BytesIO(sealed_data[: body + segment * SEGMENT_BYTES]), keyset)


@pytest.mark.parametrize("more", [b"\0", bytes(16), bytes(SEGMENT_BYTES)])
def test_extended_file_does_not_open(more, sealed_data, keyset):
    with pytest.raises(Tampered):
        SealedReader(io.BytesIO(sealed_data + more), keyset)


def test_swapped_segments(sealed_data, keyset):
    body = 10 + int.from_bytes(sealed_data[8:10], "big")
    one, two = (slice(body + i * SEGMENT_BYTES, body + (i + 1) * SEGMENT_BYTES) for i in (1, 2))
    changed = bytearray(sealed_data)
    changed[one], changed[two] = sealed_data[two], sealed_data[one]
    reader = SealedReader(io.BytesIO(changed), keyset)
    assert reader.read(FIRST) == DATA[:FIRST]
    with pytest.raises(Tampered):
        reader.read(1)


def test_any_flip_is_refused(sealed_data, keyset, key, folder):
    rng = random.Random(3)
    small = seal(b"twelve bytes", keyset, key, folder)
    body = 10 + int.from_bytes(small[8:10], "big")
    for offset in range(body + 1, len(small)):
        changed = bytearray(small)
        changed[offset] ^= 1 << rng.randrange(8)
        with pytest.raises(Tampered):
            SealedReader(io.BytesIO(changed), keyset)
    for _ in range(10):
        changed = bytearray(sealed_data)
        changed[rng.randrange(body + 1, len(changed))] ^= 0x40
        with pytest.raises(Tampered):
            SealedReader(io.BytesIO(changed), keyset).read()


def test_a_bad_segment_stays_bad(sealed_data, keyset):
    changed = bytearray(sealed_data)
    changed[2 * SEGMENT_BYTES] ^= 1
    reader = SealedReader(io.BytesIO(changed), keyset)
    for _ in range(3):
        reader.seek(0)
        with pytest.raises(Tampered):
            reader.read()
    reader.seek(len(DATA) - 10)
    assert reader.read() == DATA[-10:]


def test_collected_in_a_thread_of_its_own(sealed_data, keyset, key, folder):
    """Garbage is collected wherever it is found, and a thread cannot join itself."""
    reader = SealedReader(io.BytesIO(sealed_data), keyset)
    reader.read(len(DATA) // 2)
    reader._worker.submit(reader.close).result()
    assert reader.closed
    writer = SealedWriter(io.BytesIO(), keyset, key, folder)
    writer.write(DATA)
    writer._worker.submit(writer.abort).result()
    assert writer.closed


def test_file_that_shrinks_while_it_is_read(sealed_data, keyset):
    file = io.BytesIO(sealed_data)
    reader = SealedReader(file, keyset)
    file.truncate(1000)
    with pytest.raises(Tampered):
        reader.read()


def test_exception_leaves_no_valid_file(keyset, key, folder):
    for size in (0, 10, FIRST, 2 * SEGMENT_BYTES):
        out = io.BytesIO()
        with pytest.raises(KeyError), SealedWriter(out, keyset, key, folder) as writer:  # noqa: PT012
            writer.write(DATA[:size])
            raise KeyError
        assert writer.closed
        with pytest.raises(Tampered):
            SealedReader(io.BytesIO(out.getvalue()), keyset)


def test_dropped_writer_leaves_no_valid_file(keyset, key, folder):
    out = io.BytesIO()
    writer = SealedWriter(out, keyset, key, folder)
    writer.write(b"data")
    del writer
    gc.collect()
    with pytest.raises(Tampered):
        SealedReader(io.BytesIO(out.getvalue()), keyset)


class FullDisk(io.BytesIO):
    def write(self, data):
        if self.tell() + len(data) > 2 * SEGMENT_BYTES:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


def test_full_disk_in_the_background(keyset, key, folder):
    out = FullDisk()
    with pytest.raises(OSError, match="No space"), SealedWriter(out, keyset, key, folder) as writer:  # noqa: PT012
        for _ in range(10):
            writer.write(bytes(SEGMENT_BYTES))
    assert writer.closed
    with pytest.raises(ValueError, match="closed"):
        writer.write(b"more")
    with pytest.raises(Tampered):
        SealedReader(io.BytesIO(out.getvalue()), keyset)


def test_underlying_file_is_closed_only_if_asked(keyset, key, folder):
    for close in (True, False):
        out = io.BytesIO()
        SealedWriter(out, keyset, key, folder, close_file=close).close()
        assert out.closed is close
        sealed = io.BytesIO(seal(b"x", keyset, key, folder))
        SealedReader(sealed, keyset, close_file=close).close()
        assert sealed.closed is close


def test_keys_that_are_not_there(keyset, key, folder):
    with pytest.raises(UnknownKey):
        SealedWriter(io.BytesIO(), Keyset({}), key, folder)
    revoked = Keyset({key: NamedKey(key, None, {}, frozenset({1, 2}))})
    with pytest.raises(RevokedKey):
        SealedWriter(io.BytesIO(), revoked, key, folder)
    sealed = seal(b"x", keyset, key, folder)
    with pytest.raises(RevokedKey):
        SealedReader(io.BytesIO(sealed), revoked)
    with pytest.raises(UnknownKey):
        SealedReader(io.BytesIO(sealed), Keyset({}))
    other = Keyset({key: NamedKey(key, 2, {2: b"\x07" * 32})})
    with pytest.raises(Tampered):
        SealedReader(io.BytesIO(sealed), other)


@pytest.mark.parametrize("folder_id", ["", "00", "0" * 31, "G" * 32, "A" * 32, "0" * 33, "../" + "0" * 29])
def test_bad_folder_ids(folder_id, keyset, key):
    with pytest.raises(Misuse):
        SealedWriter(io.BytesIO(), keyset, key, folder_id)


@pytest.mark.parametrize("data", [b"", b"PAR1", b"id,name\n", b"\x1f\x8b", b"confide\x01", bytes(100)])
def test_plain_files(data, keyset):
    with pytest.raises(NotEncrypted):
        SealedReader(io.BytesIO(data), keyset)


def test_no_secret_in_any_repr(keyset, key, folder):
    writer = SealedWriter(io.BytesIO(), keyset, key, folder)
    assert "\\x01" not in repr(writer)
    assert "\\x01" not in repr(keyset)


@pytest.mark.parametrize("size", [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + PLAIN_BYTES, len(DATA)])
def test_straight_from_a_file(size, keyset, key, folder, tmp_path):
    (tmp_path / "in").write_bytes(DATA[:size])
    out = io.BytesIO()
    with open(tmp_path / "in", "rb", buffering=0) as file, SealedWriter(out, keyset, key, folder) as writer:
        while writer.write_from(file):
            pass
        assert writer.tell() == size
    assert len(out.getvalue()) == writer.sealed_bytes == len(seal(DATA[:size], keyset, key, folder))
    assert SealedReader(io.BytesIO(out.getvalue()), keyset).readall() == DATA[:size]
    with pytest.raises(ValueError, match="closed"):
        writer.write_from(io.BytesIO(b"x"))


def test_pieces_and_files_mixed(keyset, key, folder):
    out, rest = io.BytesIO(), io.BytesIO(DATA[1000:])
    with SealedWriter(out, keyset, key, folder) as writer:
        writer.write(DATA[:1000])
        while writer.write_from(rest):
            pass
        writer.write(b"end")
    assert SealedReader(io.BytesIO(out.getvalue()), keyset).readall() == DATA + b"end"
