"""Checkpoints of the audit log: C2SP tlog-checkpoint in a C2SP signed note, Ed25519. Pure.

::

    confide-audit/3f0c...            origin, also the key's name
    1234                             number of entries
    Base64 of the root hash

    — confide-audit/3f0c... Base64(key hash (4) || Ed25519 signature (64))
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from confide.broker.merkle import HASH_BYTES
from confide.errors import InvalidFormat, Tampered
from confide.keys.signing import key_id, public_key_from_raw, raw_public

MAX_NOTE_BYTES = 16 * 1024

_ED25519 = b"\x01"
_KEY_HASH_BYTES = 4
_BODY = re.compile(r"([^\n]+)\n(0|[1-9][0-9]{0,15})\n([A-Za-z0-9+/]{43}=)\n(?:[^\n]+\n)*")
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_VERIFIER = re.compile(r"([^\s+]{1,255})\+([0-9a-f]{8})\+([A-Za-z0-9+/]{44})")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a log that its key signed.

    Attributes:
        origin: which log.
        size: number of entries.
        root: tree hash over them, 32 bytes.
    """

    origin: str
    size: int
    root: bytes


def origin_of(public_key: Ed25519PublicKey) -> str:
    """Return the origin line of the log of this key: `confide-audit/` and 32 hex digits of the key's id."""
    return f"confide-audit/{key_id(public_key)[:32]}"


def verifier_key(public_key: Ed25519PublicKey) -> str:
    """Return the key as text for verifiers: `origin+hash+key` (C2SP signed-note, "vkey")."""
    origin, key = origin_of(public_key), _ED25519 + raw_public(public_key)
    return f"{origin}+{_key_hash(origin, key).hex()}+{base64.b64encode(key).decode()}"


def sign_checkpoint(size: int, root: bytes, private_key: Ed25519PrivateKey) -> str:
    """Return the signed note of a log's state."""
    public_key = private_key.public_key()
    origin = origin_of(public_key)
    body = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    blob = _key_hash(origin, _ED25519 + raw_public(public_key)) + private_key.sign(body.encode())
    return f"{body}\n— {origin} {base64.b64encode(blob).decode()}\n"


def open_checkpoint(note: str, verifier: str) -> Checkpoint:
    """Verify a signed note under a log's verifier key; signatures by other keys are passed over.

    Raises:
        InvalidFormat: `verifier` is not a verifier key of Ed25519.
        Tampered: not a checkpoint of that log, or not signed by its key.
    """
    name, key_hash, public_key = _parse_verifier(verifier)
    if len(note) > MAX_NOTE_BYTES or len(note.encode()) > MAX_NOTE_BYTES:
        raise Tampered(f"checkpoint is larger than {MAX_NOTE_BYTES} bytes")
    text, separator, signatures = note.rpartition("\n\n")
    body = text + "\n"
    match = _BODY.fullmatch(body)
    if not separator or not match or not signatures.endswith("\n"):
        raise Tampered("not a checkpoint")
    root = base64.b64decode(match[3])
    if match[1] != name or len(root) != HASH_BYTES:
        raise Tampered("checkpoint of another log")
    for line in signatures.removesuffix("\n").split("\n"):
        signature = _SIGNATURE.fullmatch(line)
        if not signature:
            raise Tampered("not a checkpoint: malformed signature line")
        if signature[1] == name and _verifies(signature[2], key_hash, public_key, body.encode()):
            return Checkpoint(name, int(match[2]), root)
    raise Tampered("checkpoint is not signed by the log's key")


def _verifies(text: str, key_hash: bytes, public_key: Ed25519PublicKey, body: bytes) -> bool:
    try:
        blob = base64.b64decode(text, validate=True)
    except ValueError:
        return False
    if blob[:_KEY_HASH_BYTES] != key_hash:
        return False
    try:
        public_key.verify(blob[_KEY_HASH_BYTES:], body)
    except InvalidSignature:
        return False
    return True


def _parse_verifier(text: str) -> tuple[str, bytes, Ed25519PublicKey]:
    match = _VERIFIER.fullmatch(text)
    key = base64.b64decode(match[3]) if match else b""
    if not match or key[:1] != _ED25519 or _key_hash(match[1], key).hex() != match[2]:
        raise InvalidFormat("not the verifier key of a log")
    return match[1], bytes.fromhex(match[2]), public_key_from_raw(key[1:])


def _key_hash(name: str, key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + key).digest()[:_KEY_HASH_BYTES]
