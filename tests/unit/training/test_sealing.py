"""Chunks open for the place they were sealed for, and nowhere else."""

from __future__ import annotations

import dataclasses
import hashlib
import json

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from confide.errors import Misuse, Tampered
from confide.training import sealing
from confide.training.sealing import (
    CHUNK_BYTES,
    EVERYBODY,
    OVERHEAD_BYTES,
    Incarnation,
    Opener,
    Operation,
    Place,
    Sealer,
    open_message,
    seal_message,
    sealed_bytes,
)

KEY = bytes(range(32))
INCARNATION = Incarnation(KEY, "0", (b"a" * 32, b"b" * 32, b"c" * 32))
SENDER, RECEIVER = 1, 2
OPERATION = Operation("all-reduce", 2, sequence=7, tag=3, detail="torch.float32 sum")
PLACE = Place(SENDER, RECEIVER, chunk=4, message_bytes=9 * CHUNK_BYTES)
PLAIN = b"gradients"


def _sealed(incarnation=INCARNATION, operation=OPERATION, phase=1, place=PLACE, sender=SENDER) -> bytearray:
    out = bytearray(len(PLAIN) + OVERHEAD_BYTES)
    Sealer(incarnation, sender).seal(operation.bound(phase), place, memoryview(PLAIN), memoryview(out))
    return out


def _opened(
    sealed, incarnation=INCARNATION, operation=OPERATION, phase=1, place=PLACE, sender=SENDER
) -> bytes:
    out = bytearray(len(sealed) - OVERHEAD_BYTES)
    Opener(incarnation, sender, name=11).open(operation, phase, place, memoryview(sealed), memoryview(out))
    return bytes(out)


def test_a_chunk_opens_where_it_belongs():
    assert _opened(_sealed()) == PLAIN


def test_as_the_format_says():
    """A second implementation, from docs/formats/collectives.md."""
    document = json.dumps(
        {"group": "0", "ranks": [nonce.hex() for nonce in INCARNATION.nonces]}, separators=(",", ":")
    )
    incarnation = hashlib.sha256(document.encode()).digest()

    def hkdf(key: bytes, info: bytes, salt: bytes | None = None) -> bytes:
        return HKDF(hashes.SHA256(), 32, salt=salt, info=b"confide collectives 1 " + info).derive(key)

    secret = hkdf(KEY, b"sender" + bytes([0, 0, 0, 1]), incarnation)
    key = hkdf(secret, b"key" + bytes(8))
    bound = (
        incarnation
        + bytes([0, 0, 0, 1])
        + bytes([0, 0, 0, 2])
        + bytes([0, 0, 0, 4])
        + (9 * 1048576).to_bytes(8, "big")
        + bytes([2, 1])
        + bytes([0, 0, 0, 3])
        + (7).to_bytes(8, "big")
        + b"torch.float32 sum"
    )
    sealed = _sealed()
    assert sealed[:8] == bytes(8)
    assert AESGCM(key).decrypt(bytes(12), bytes(sealed[8:]), bound) == PLAIN


@pytest.mark.parametrize(
    "other",
    [
        {"incarnation": dataclasses.replace(INCARNATION, job_key=bytes(32))},
        {"incarnation": dataclasses.replace(INCARNATION, group="1")},
        {"incarnation": dataclasses.replace(INCARNATION, nonces=(b"a" * 32, b"b" * 32, b"d" * 32))},
        {"incarnation": dataclasses.replace(INCARNATION, nonces=(b"b" * 32, b"a" * 32, b"c" * 32))},
        {"operation": dataclasses.replace(OPERATION, sequence=8)},
        {"operation": dataclasses.replace(OPERATION, code=1)},
        {"operation": dataclasses.replace(OPERATION, tag=0)},
        {"operation": dataclasses.replace(OPERATION, detail="torch.float32 max")},
        {"phase": 0},
        {"place": dataclasses.replace(PLACE, sender=0)},
        {"place": dataclasses.replace(PLACE, receiver=0)},
        {"place": dataclasses.replace(PLACE, receiver=EVERYBODY)},
        {"place": dataclasses.replace(PLACE, chunk=5)},
        {"place": dataclasses.replace(PLACE, message_bytes=8 * CHUNK_BYTES)},
        {"sender": 0},
    ],
    ids=lambda other: "-".join(other),
)
def test_a_chunk_opens_nowhere_else(other):
    with pytest.raises(Tampered, match="rank 11, "):
        _opened(_sealed(), **other)


def test_no_byte_can_be_changed():
    sealed = _sealed()
    for index in range(len(sealed)):
        changed = bytearray(sealed)
        changed[index] ^= 1
        with pytest.raises(Tampered):
            _opened(changed)


def test_what_does_not_open_is_not_left_behind():
    sealed = _sealed()
    sealed[-1] ^= 1
    out = bytearray(b"?" * len(PLAIN))
    with pytest.raises(Tampered):
        Opener(INCARNATION, SENDER, 11).open(OPERATION, 1, PLACE, memoryview(sealed), memoryview(out))
    assert out == bytes(len(PLAIN))


def test_no_nonce_is_used_twice_and_keys_change(monkeypatch):
    monkeypatch.setattr(sealing, "CHUNKS_PER_KEY", 2)
    sealer, opener = Sealer(INCARNATION, SENDER), Opener(INCARNATION, SENDER, 11)
    bound, seen, used = OPERATION.bound(1), [], set()
    for _ in range(7):
        out = bytearray(len(PLAIN) + OVERHEAD_BYTES)
        sealer.seal(bound, PLACE, memoryview(PLAIN), memoryview(out))
        seen.append(out)
        used.add(bytes(out))
    assert [int.from_bytes(sealed[:8], "big") for sealed in seen] == list(range(7))
    assert len(used) == 7
    for sealed in [*seen, *reversed(seen)]:  # an opener goes back to an older key, too
        plain = bytearray(len(PLAIN))
        opener.open(OPERATION, 1, PLACE, memoryview(sealed), memoryview(plain))
        assert plain == PLAIN
    monkeypatch.undo()
    with pytest.raises(Tampered):  # it was not sealed under the key of number 0
        _opened(seen[2])


@given(
    st.sampled_from([0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]),
    st.integers(0, 255),
)
def test_messages_of_every_size(size, fill):
    plain = bytes([fill]) * size
    sealed, out = bytearray(sealed_bytes(size)), bytearray(size)
    seal_message(Sealer(INCARNATION, 0), OPERATION, 0, 1, memoryview(plain), memoryview(sealed))
    open_message(Opener(INCARNATION, 0, 0), OPERATION, (0, 1), memoryview(sealed), memoryview(out))
    assert out == plain


def test_chunks_of_a_message_cannot_be_swapped():
    plain = bytes(CHUNK_BYTES) + b"\1" * CHUNK_BYTES
    sealed, out = bytearray(sealed_bytes(len(plain))), bytearray(len(plain))
    seal_message(Sealer(INCARNATION, 0), OPERATION, 0, 1, memoryview(plain), memoryview(sealed))
    half = len(sealed) // 2
    swapped = sealed[half:] + sealed[:half]
    with pytest.raises(Tampered):
        open_message(Opener(INCARNATION, 0, 0), OPERATION, (0, 1), memoryview(swapped), memoryview(out))


@pytest.mark.parametrize(("key", "nonce"), [(b"short", b"a" * 32), (KEY, b"short")])
def test_sizes_of_keys_are_checked(key, nonce):
    with pytest.raises(Misuse):
        Incarnation(key, "0", (nonce,))


def test_no_key_is_shown():
    assert KEY.hex() not in repr(INCARNATION)
    assert repr(KEY) not in repr(INCARNATION)
