"""Sealed chunks between the ranks of a process group. Format: docs/formats/collectives.md.

A group draws new random numbers each time it is made, one by each rank; their hash, with the group's name, is its
*incarnation*. Each rank seals under keys derived from the job's key, the incarnation and its rank, with a counter as
nonce, and each chunk is bound to where it belongs. So what was recorded, even of the same job, opens nowhere else.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from confide.canonical import canonical_json
from confide.errors import Misuse, Tampered

KEY_BYTES = 32
NONCE_BYTES = 32
"""Random numbers of ranks, from which an incarnation is made; not nonces of AES-GCM."""
CHUNK_BYTES = 1 << 20
"""Plaintext of a chunk; the last one of a message may have less. Smaller ones cost more in waking threads."""
COUNTER = struct.Struct(">Q")
TAG_BYTES = 16
OVERHEAD_BYTES = COUNTER.size + TAG_BYTES
CHUNKS_PER_KEY = 1 << 14
"""At 1 MiB each 2**30 blocks of AES: far below where GCM under one key becomes distinguishable."""
EVERYBODY = 0xFFFFFFFF
"""Receiver of what all other ranks get alike."""

_OPERATION = struct.Struct(">BBIQ")
_PLACE = struct.Struct(">IIIQ")


@dataclass(frozen=True)
class Operation:
    """What the ranks of a group do together, or two of them; the same on all who take part.

    Attributes:
        name: as errors have it, for instance `all-reduce`.
        code: of the name, in the format.
        sequence: running number: of collectives in the group, of messages between two ranks with one tag.
        tag: of messages between two ranks.
        detail: what else both sides must agree on: data type, kind of reduction.
    """

    name: str
    code: int
    sequence: int
    tag: int = 0
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.sequence}"

    def bound(self, phase: int = 0) -> bytes:
        """Return the bytes that chunks of this operation are bound to; operations have one or two phases."""
        return _OPERATION.pack(self.code, phase, self.tag, self.sequence) + self.detail.encode()


@dataclass(frozen=True)
class Place:
    """Where a chunk belongs.

    Attributes:
        sender: rank in the group.
        receiver: likewise, or `EVERYBODY`.
        chunk: number in its message.
        message_bytes: plaintext of the whole message.
    """

    sender: int
    receiver: int
    chunk: int
    message_bytes: int

    def bound(self) -> bytes:
        """Return the bytes that the chunk is bound to."""
        return _PLACE.pack(self.sender, self.receiver, self.chunk, self.message_bytes)


@dataclass(frozen=True)
class Incarnation:
    """One making of a group, and the keys that hold in it.

    Attributes:
        job_key: of the job, 32 bytes.
        group: name of the group.
        nonces: random numbers of its ranks, in their order.
    """

    job_key: bytes = field(repr=False)
    group: str
    nonces: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if len(self.job_key) != KEY_BYTES or any(len(nonce) != NONCE_BYTES for nonce in self.nonces):
            raise Misuse("a job key has 32 bytes, and so has the random number of a rank")

    @property
    def id(self) -> bytes:
        """Return its 32 bytes."""
        ranks = [nonce.hex() for nonce in self.nonces]
        return hashlib.sha256(canonical_json({"group": self.group, "ranks": ranks})).digest()

    def secret(self, rank: int) -> bytes:
        """Return what the keys of a sender are derived from."""
        return derive(self.job_key, b"sender" + rank.to_bytes(4, "big"), self.id)


def derive(key: bytes, purpose: bytes, salt: bytes | None = None) -> bytes:
    """Return 32 bytes that are HKDF-SHA-256 of `key`, for one purpose."""
    return HKDF(hashes.SHA256(), KEY_BYTES, salt=salt, info=b"confide collectives 1 " + purpose).derive(key)


class _Keys:
    """The keys of a sender: the one in use, and how to come to the next."""

    def __init__(self, incarnation: Incarnation, rank: int) -> None:
        self._secret, self._number, self._aead = incarnation.secret(rank), -1, AESGCM(bytes(KEY_BYTES))
        self._lock = threading.Lock()
        self.bound = incarnation.id

    def at(self, counter: int) -> AESGCM:
        number = counter // CHUNKS_PER_KEY
        with self._lock:
            if number != self._number:
                self._aead = AESGCM(derive(self._secret, b"key" + number.to_bytes(8, "big")))
                self._number = number
            return self._aead


class Sealer:
    """Seals what one rank sends. Used from several threads.

    Args:
        incarnation: of the group.
        rank: of this process.
    """

    def __init__(self, incarnation: Incarnation, rank: int) -> None:
        self._keys, self._rank = _Keys(incarnation, rank), rank
        self._counter, self._lock = 0, threading.Lock()

    def seal(self, operation: bytes, place: Place, plain: memoryview, out: memoryview) -> None:
        """Seal a chunk into `out`, which has the plaintext's length plus `OVERHEAD_BYTES`.

        Args:
            operation: `Operation.bound`.
            place: where the chunk belongs.
            plain: at most `CHUNK_BYTES`.
            out: where the sealed chunk goes.
        """
        with self._lock:
            counter = self._counter
            self._counter += 1
        COUNTER.pack_into(out, 0, counter)
        bound = self._keys.bound + place.bound() + operation
        self._keys.at(counter).encrypt_into(_nonce(counter), plain, bound, out[COUNTER.size :])


class Opener:
    """Opens what another rank sent. Used from several threads.

    Args:
        incarnation: of the group.
        rank: of the sender.
        name: what errors call it; its rank in the whole job.
    """

    def __init__(self, incarnation: Incarnation, rank: int, name: int) -> None:
        self._keys, self._name = _Keys(incarnation, rank), name

    def open(
        self, operation: Operation, phase: int, place: Place, sealed: memoryview, out: memoryview
    ) -> None:
        """Open a chunk into `out`.

        Raises:
            Tampered: it is not what that rank sealed for this place of this operation; `out` is zeroed.
        """
        (counter,) = COUNTER.unpack_from(sealed)
        bound = self._keys.bound + place.bound() + operation.bound(phase)
        try:
            self._keys.at(counter).decrypt_into(_nonce(counter), sealed[COUNTER.size :], bound, out)
        except InvalidTag:
            out[:] = bytes(len(out))
            raise Tampered(
                f"rank {self._name}, {operation}: what came is not what that rank sealed for it: altered, replayed, "
                "out of order, under another job's key, or that rank does something else now"
            ) from None


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(12, "big")


def chunks(message_bytes: int) -> int:
    """Return how many chunks a message has: an empty one has one, too, so that it is authenticated."""
    return max(1, -(-message_bytes // CHUNK_BYTES))


def sealed_bytes(message_bytes: int) -> int:
    """Return the size of a whole sealed message."""
    return message_bytes + chunks(message_bytes) * OVERHEAD_BYTES


def seal_message(
    sealer: Sealer, operation: Operation, sender: int, receiver: int, plain: memoryview, out: memoryview
) -> None:
    """Seal a whole message into `out`, chunk after chunk."""
    bound, at = operation.bound(), 0
    for chunk in range(chunks(len(plain))):
        part = plain[chunk * CHUNK_BYTES : (chunk + 1) * CHUNK_BYTES]
        end = at + len(part) + OVERHEAD_BYTES
        sealer.seal(bound, Place(sender, receiver, chunk, len(plain)), part, out[at:end])
        at = end


def open_message(
    opener: Opener, operation: Operation, ranks: Sequence[int], sealed: memoryview, out: memoryview
) -> None:
    """Open a whole message into `out`. Raises as `Opener.open`.

    Args:
        opener: of the sender.
        operation: of both.
        ranks: sender and receiver.
        sealed: the message.
        out: of the plaintext's size.
    """
    sender, receiver = ranks
    at = 0
    for chunk in range(chunks(len(out))):
        part = out[chunk * CHUNK_BYTES : (chunk + 1) * CHUNK_BYTES]
        end = at + len(part) + OVERHEAD_BYTES
        opener.open(operation, 0, Place(sender, receiver, chunk, len(out)), sealed[at:end], part)
        at = end
