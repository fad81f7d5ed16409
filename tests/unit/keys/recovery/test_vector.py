"""The vector, opened by confide, and by a second implementation from RFC 9180 and docs/formats/recovery.md alone."""

import base64
import hashlib
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from confide.keys.passphrase_file import PassphraseFile
from confide.keys.recovery.documents import Answer, RecoverySet
from confide.keys.recovery.key import RecoveryKey, RecoveryPublicKey
from confide.keys.recovery.recover import check, combine_answers

from ....hpke import expand, extract, hpke_open

VECTOR = Path(__file__).parents[3] / "vectors/recovery"
PASSPHRASE = b"correct horse battery staple"
ROOT = bytes(range(32))


def read(name: str) -> bytes:
    return (VECTOR / name).read_bytes()


@pytest.mark.parametrize("name", ["ana", "ben", "cleo"])
def test_owners_open_their_shares(name):
    key = RecoveryKey.open(VECTOR / f"{name}.key", PASSPHRASE)
    assert check(RecoverySet.parse(read("set.json")), key).owner == name


def test_the_machine_restores():
    machine = RecoveryKey.open(VECTOR / "machine.key", PASSPHRASE)
    assert machine.public.id == RecoveryPublicKey.from_pem(read("machine.pem")).id
    answers = [Answer.parse(read(f"{name}.answer.json")) for name in ("ana", "cleo")]
    assert combine_answers(RecoverySet.parse(read("set.json")), answers, machine).root == ROOT


def test_a_second_implementation_restores():
    document = json.loads(read("set.json"))
    digest = hashlib.sha256(canonical(document)).hexdigest()
    private = private_key("machine")
    points = {}
    for name in ("ana", "cleo"):
        said = json.loads(read(f"{name}.answer.json"))
        assert said["set"] == digest
        sealed = base64.b64decode(said.pop("sealed"))
        points[said["index"]] = hpke_open(private, sealed, canonical(said))
    check_shares(document, points)
    assert combine(points) == ROOT


def test_a_second_implementation_opens_the_shares_of_a_set():
    document = json.loads(read("set.json"))
    points = {}
    for share in document["shares"]:
        said = {name: value for name, value in document.items() if name != "shares"}
        said |= {"of": 3, "share": {name: value for name, value in share.items() if name != "sealed"}}
        sealed = base64.b64decode(share["sealed"])
        points[share["index"]] = hpke_open(private_key(share["owner"]), sealed, canonical(said))
    check_shares(document, points)
    assert combine({x: points[x] for x in (2, 3)}) == ROOT
    bound = b"confide/v1/recovery-root" + bytes.fromhex(document["set"]) + ROOT
    assert hashlib.sha256(bound).hexdigest() == document["commitment"]


def check_shares(document, points):
    for x, point in points.items():
        bound = b"confide/v1/recovery-share" + bytes.fromhex(document["set"]) + bytes([x]) + point
        assert hashlib.sha256(bound).hexdigest() == document["shares"][x - 1]["commitment"]


def canonical(value) -> bytes:
    """RFC 8785, for values of ASCII and small integers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def private_key(name: str) -> X25519PrivateKey:
    root = PassphraseFile.open(VECTOR / f"{name}.key", PASSPHRASE)._root  # docs/formats/root-key.md
    return X25519PrivateKey.from_private_bytes(
        expand(extract(bytes(32), root), b"confide/v1/recovery-key", 32)
    )


def combine(points: dict[int, bytes]) -> bytes:
    """Lagrange at 0 in GF(2^128), x^128 + x^7 + x^2 + x + 1, bytes most significant first; two halves."""
    secret = b""
    for part in (slice(0, 16), slice(16, 32)):
        total = 0
        for x, point in points.items():
            term = int.from_bytes(point[part], "big")
            for other in points:
                if other != x:
                    term = multiply(multiply(term, other), inverse(x ^ other))
            total ^= term
        secret += total.to_bytes(16, "big")
    return secret


def multiply(a: int, b: int) -> int:
    product = 0
    while b:
        if b & 1:
            product ^= a
        a <<= 1
        if a >> 128:
            a ^= (1 << 128) | 0x87
        b >>= 1
    return product


def inverse(a: int) -> int:
    """a^(2^128 - 2)."""
    result = 1
    for _ in range(127):
        a = multiply(a, a)
        result = multiply(result, a)
    return result
