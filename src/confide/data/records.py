"""Sealed records: the rows of a stream, one by one. Format: docs/formats/sealed-record.md.

A record is bound to its stream, to who made it, and to its place among what that producer made. So whoever carries a
stream cannot change, swap, repeat, reorder or leave out records that lie before one that he shows.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from confide.canonical import sha256_hex
from confide.errors import InvalidFormat, Misuse, NotEncrypted, Tampered, UnknownKey
from confide.keys.material import NONCE_BYTES, TAG_BYTES, Keyset
from confide.keys.names import KeyName, KeyVersion

MAGIC = b"CONFIDR\x01"
PRODUCER_BYTES = 16
NUMBER_BYTES = 8
MAX_NUMBER = 2**53 - 1
MAX_PLAIN_BYTES = 256 * 1024
MAX_PRODUCERS = 1_000_000
AT_ONCE = 256
"""Records that are carried in one call."""
_MAX_OPEN = 10_000
"""Producers whose data keys are kept unwrapped."""
_KEY_BYTES = 32
_WRAPPED_BYTES = NONCE_BYTES + _KEY_BYTES + TAG_BYTES
_LENGTH_BYTES = 1
_DATA_KEY_ID_CHARS = 16


class RecordSealer:
    """Seals the records of one producer, one after the other, under a data key of its own.

    Attributes:
        producer: its random id.
        number: of the record that was sealed last.
        data_key_id: by which a stream tells a repeated record from another of the same number.

    Args:
        keyset: holds `key`.
        key: of the stream; its current version wraps the data key.
        stream: name of the stream.

    Raises:
        UnknownKey, RevokedKey: the key is not held, or was revoked.
        Misuse: a stream without a name.
    """

    def __init__(self, keyset: Keyset, key: KeyName, stream: str) -> None:
        if not stream:
            raise Misuse("a stream has a name")
        self.producer = secrets.token_bytes(PRODUCER_BYTES)
        self.number = 0
        version, data_key = keyset.key(key).current_version(), secrets.token_bytes(_KEY_BYTES)
        _, wrapped = keyset.wrap(key, data_key, _context(str(version), stream, self.producer))
        self._cipher = AESGCM(data_key)
        self._start = _start(str(version), self.producer, wrapped)
        self.data_key_id = sha256_hex(wrapped)[:_DATA_KEY_ID_CHARS]

    def seal(self, plain: bytes) -> bytes:
        """Return the next record.

        Raises:
            Misuse: more than 256 KiB.
        """
        if len(plain) > MAX_PLAIN_BYTES:
            raise Misuse(f"a record has at most {MAX_PLAIN_BYTES} bytes, not {len(plain)}")
        self.number += 1
        header = self._start + self.number.to_bytes(NUMBER_BYTES, "big")
        return header + self._cipher.encrypt(_nonce(self.number), plain, header)


@dataclass(frozen=True)
class ParsedRecord:
    """A record, taken apart; nothing is verified.

    Attributes:
        header: everything before the ciphertext.
        key: version that wrapped the data key.
        producer: who made it.
        wrapped: the data key.
        number: its place among what the producer made, from 1.
        sealed: ciphertext and tag.
    """

    header: bytes
    key: KeyVersion
    producer: bytes
    wrapped: bytes
    number: int
    sealed: bytes


def parse_record(record: bytes) -> ParsedRecord:
    """Take a record apart.

    Raises:
        NotEncrypted: it does not begin as a sealed record.
        InvalidFormat: another version of the format, too large, or a header that is not one.
        Tampered: it ends too early.
    """
    if record[: len(MAGIC) - 1] != MAGIC[:-1]:
        raise NotEncrypted("not a sealed record")
    at = len(MAGIC) + _LENGTH_BYTES
    if len(record) < at:
        raise Tampered("sealed record ends inside its header")
    if record[: len(MAGIC)] != MAGIC:
        raise InvalidFormat(f"sealed record of unknown version {record[len(MAGIC) - 1]}")
    end = at + record[len(MAGIC)]
    body = end + PRODUCER_BYTES + _WRAPPED_BYTES + NUMBER_BYTES
    if len(record) < body + TAG_BYTES:
        raise Tampered("sealed record is cut off")
    if len(record) > body + MAX_PLAIN_BYTES + TAG_BYTES:
        raise InvalidFormat(f"sealed record of more than {MAX_PLAIN_BYTES} bytes")
    try:
        key = KeyVersion.parse(record[at:end].decode("ascii"))
    except (UnicodeDecodeError, Misuse):
        raise InvalidFormat("sealed record names no key version") from None
    number = int.from_bytes(record[body - NUMBER_BYTES : body], "big")
    if not 1 <= number <= MAX_NUMBER:
        raise InvalidFormat(f"sealed record of number {number}")
    producer, wrapped = record[end : end + PRODUCER_BYTES], record[end + PRODUCER_BYTES : body - NUMBER_BYTES]
    return ParsedRecord(record[:body], key, producer, wrapped, number, record[body:])


@dataclass(frozen=True)
class OpenedRecord:
    """A record that is authentic, and of the stream.

    Attributes:
        producer: who made it.
        number: its place among what that producer made, from 1.
        row: what it holds.
    """

    producer: bytes
    number: int
    row: bytes


class RecordOpener:
    """Opens the records of one stream in the order in which they come, and refuses any other order.

    `open_alone` opens a record wherever it stands, for streams whose records have no order: topics of a Kafka.

    Args:
        keyset: holds `key`.
        key: of the stream; records under another are refused.
        stream: name of the stream.
        last: producer -> number of its record that was opened last, as `last` was when the reader stopped.
        whole: a producer that is not in `last` begins with its first record; False: the stream was trimmed, or is read
            from its middle, and it may begin anywhere.
    """

    def __init__(
        self,
        keyset: Keyset,
        key: KeyName,
        stream: str,
        *,
        last: Mapping[bytes, int] | None = None,
        whole: bool = True,
    ) -> None:
        self.last = dict(last or {})
        self._keyset, self._key, self._stream, self._whole = keyset, key, stream, whole
        self._open: dict[bytes, tuple[bytes, AESGCM]] = {}

    def open(self, record: bytes) -> bytes:
        """Return what a record holds, and take it as opened.

        The steps are those of the format.

        Raises:
            as `open_alone`.
            Tampered: also repeated, out of order, or after one that is missing.
        """
        opened = self.open_alone(record)
        self._advance(opened.producer, opened.number)
        return opened.row

    def open_alone(self, record: bytes) -> OpenedRecord:
        """Open a record wherever it stands: whether it was repeated, and others are missing, is for the caller to see.

        Raises:
            NotEncrypted, InvalidFormat: not a record of this format.
            UnknownKey, RevokedKey: of another key, or of a version that is not there or was revoked.
            Tampered: changed, cut off, or of another stream.
        """
        parsed = parse_record(record)
        try:
            plain = self._cipher(parsed).decrypt(_nonce(parsed.number), parsed.sealed, parsed.header)
        except InvalidTag:
            raise Tampered("sealed record does not authenticate") from None
        return OpenedRecord(parsed.producer, parsed.number, plain)

    def _cipher(self, record: ParsedRecord) -> AESGCM:
        start = record.header[:-NUMBER_BYTES]
        known, cipher = self._open.get(record.producer, (b"", None))
        if cipher is None or known != start:
            if record.key.key != self._key:
                raise UnknownKey(f"a sealed record under {record.key}, in a stream under {self._key}")
            context = _context(str(record.key), self._stream, record.producer)
            cipher = AESGCM(self._keyset.unwrap(record.key, record.wrapped, context))
            if len(self._open) >= _MAX_OPEN:
                self._open.clear()
            self._open[record.producer] = (start, cipher)
        return cipher

    def _advance(self, producer: bytes, number: int) -> None:
        last = self.last.get(producer, 0 if self._whole else number - 1)
        if number <= last:
            raise Tampered(
                f"a record was repeated, or is out of order: number {number} of producer {producer.hex()} after {last}"
            )
        if number > last + 1:
            raise Tampered(
                f"records are missing: number {number} of producer {producer.hex()} after {last or 'none'}"
            )
        if producer not in self.last and len(self.last) >= MAX_PRODUCERS:
            raise InvalidFormat(f"a stream of more than {MAX_PRODUCERS} producers")
        self.last[producer] = number


def _start(key: str, producer: bytes, wrapped: bytes) -> bytes:
    return MAGIC + len(key).to_bytes(_LENGTH_BYTES, "big") + key.encode("ascii") + producer + wrapped


def _context(key: str, stream: str, producer: bytes) -> bytes:
    return f"stream:{key}@{stream}/{producer.hex()}".encode()


def _nonce(number: int) -> bytes:
    return number.to_bytes(NONCE_BYTES, "big")
