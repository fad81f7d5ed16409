"""Write records.json: `python tests/vectors/records/generate.py`.

Deterministic and independent: nothing of `confide` is imported.
"""

import base64
import hashlib
import json
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HERE = Path(__file__).parent
MAGIC = b"CONFIDR\x01"
STREAM, KEY = "pulses", "clinic/pulses"
SECRETS = {
    "clinic/pulses": {1: b"\x11" * 32, 2: b"\x12" * 32},
    "clinic/other": {1: b"\x13" * 32},
    "clinic/absent": {1: b"\x14" * 32},
}
A, B = (hashlib.shake_256(name).digest(16) for name in (b"a", b"b"))


def stream_bytes(label: str, size: int) -> bytes:
    return hashlib.shake_256(label.encode()).digest(size)


def hkdf(secret: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=None, info=b"confide/v1/wrap").derive(secret)


def record(
    number: int,
    plain: bytes,
    producer: bytes = A,
    *,
    key: str = KEY,
    version: int = 2,
    stream: str = STREAM,
    life: str = "",
    named: str | None = None,
    magic: bytes = MAGIC,
) -> bytes:
    """Return a record; `life`: of the producer, another one has another data key; `named`: what it says of its key."""
    text = named or f"{key}:{version}"
    label = f"{text}@{stream}/{producer.hex()}/{life}"
    data_key, nonce = stream_bytes(label + "/key", 32), stream_bytes(label + "/wrap", 12)
    context = f"stream:{text}@{stream}/{producer.hex()}".encode("latin-1")
    secret = SECRETS[key].get(version, b"\x18" * 32)
    wrapped = nonce + AESGCM(hkdf(secret)).encrypt(nonce, data_key, context)
    name = text.encode("latin-1")
    header = magic + bytes([len(name)]) + name + producer + wrapped + number.to_bytes(8, "big")
    return header + AESGCM(data_key).encrypt(number.to_bytes(12, "big"), plain, header)


def flipped(data: bytes, offset: int) -> bytes:
    changed = bytearray(data)
    changed[offset] ^= 1
    return bytes(changed)


NAME = len(f"{KEY}:2")
ONE, TWO, THREE = (record(number, b"row %d" % number) for number in (1, 2, 3))
PLACES = {
    "magic": (0, "NotEncrypted"),
    "version": (7, "InvalidFormat"),
    "length of the key's name": (8, None),
    "key's name": (9, "UnknownKey"),
    "producer": (9 + NAME, "Tampered"),
    "nonce of the wrapped key": (9 + NAME + 16, "Tampered"),
    "wrapped key": (9 + NAME + 16 + 20, "Tampered"),
    "tag of the wrapped key": (9 + NAME + 16 + 59, "Tampered"),
    "ciphertext": (9 + NAME + 16 + 60 + 8, "Tampered"),
    "tag": (-1, "Tampered"),
}


def cases() -> list[dict[str, object]]:
    """Return the cases; `records` are opened in order: all but the last open, and the last one as `expect` says."""
    made: list[dict[str, object]] = []

    def case(name: str, expect: str, *records: bytes, plain: tuple[bytes, ...] = (), **more: object) -> None:
        entry = {
            "name": name,
            "expect": expect,
            "records": [base64.b64encode(each).decode() for each in records],
        }
        if plain:
            entry["plain"] = [base64.b64encode(each).decode() for each in plain]
        made.append(entry | more)

    case("one record", "ok", ONE, plain=(b"row 1",))
    case("an empty row", "ok", record(1, b""), plain=(b"",))
    case("in order", "ok", ONE, TWO, THREE, plain=(b"row 1", b"row 2", b"row 3"))
    case("an older version of the key", "ok", record(1, b"x", version=1), plain=(b"x",))
    case("two producers", "ok", ONE, record(1, b"b", B), TWO, plain=(b"row 1", b"b", b"row 2"))
    again = record(2, b"again", life="second")
    case("a producer that went on under a new data key", "ok", ONE, again, plain=(b"row 1", b"again"))
    case("a reader that went on", "ok", THREE, plain=(b"row 3",), last={A.hex(): 2})
    case("the middle of a trimmed stream", "ok", TWO, THREE, plain=(b"row 2", b"row 3"), whole=False)

    for name, (offset, expect) in PLACES.items():
        case(f"changed: {name}", expect or "InvalidFormat", flipped(ONE, offset))
    number = 9 + NAME + 16 + 60 + 7
    case("changed: number", "Tampered", ONE, flipped(THREE, number))
    for size in (0, 6):
        case(f"cut to {size} bytes", "NotEncrypted", ONE[:size])
    for size in (7, 8, 9, 9 + NAME, number, number + 1, len(ONE) - 1):
        case(f"cut to {size} bytes", "Tampered", ONE[:size])
    case("one byte more", "Tampered", ONE + b"\0")
    case(
        "plain JSON",
        "NotEncrypted",
        b'{"patient": "a", "rate": 61, "and": "something long enough to be a record"}',
    )
    case("number 0", "InvalidFormat", record(0, b"x"))
    case("a number too high", "InvalidFormat", record(2**53, b"x"), whole=False)
    case("no key", "InvalidFormat", record(1, b"x", named="clinic"))
    case("a key not in ASCII", "InvalidFormat", record(1, b"x", named="clinic/p\xfclses:2"))
    case("of another stream", "Tampered", record(1, b"x", stream="doses"))
    case("under another key that is held", "UnknownKey", record(1, b"x", key="clinic/other", version=1))
    case("under a key that is not held", "UnknownKey", record(1, b"x", key="clinic/absent", version=1))
    case("under a version that does not exist", "UnknownKey", record(1, b"x", version=9))
    case("under a revoked version", "RevokedKey", record(1, b"x", version=3))
    case(
        "sealed with another secret",
        "Tampered",
        record(1, b"x", key="clinic/other", version=1, named="clinic/pulses:2"),
    )
    case("repeated", "Tampered", ONE, TWO, TWO)
    case("repeated from before", "Tampered", ONE, TWO, THREE, ONE)
    case("out of order", "Tampered", ONE, THREE)
    case("the first one is missing", "Tampered", TWO)
    case("one of two producers has a gap", "Tampered", ONE, record(1, b"b", B), TWO, record(3, b"b", B))
    case("repeated to a reader that went on", "Tampered", TWO, last={A.hex(): 2})
    case("a gap where a reader went on", "Tampered", THREE, last={A.hex(): 1})
    case("a gap in a trimmed stream", "Tampered", ONE, THREE, whole=False)
    case("repeated in a trimmed stream", "Tampered", TWO, TWO, whole=False)
    case("another row of the same number", "Tampered", ONE, TWO, again)
    mixed = ONE[: 9 + NAME + 16] + again[9 + NAME + 16 : number + 1] + TWO[number + 1 :]
    case("a ciphertext under another header", "Tampered", ONE, mixed)
    return made


def main() -> None:
    keys = {
        name: {
            "current": max(versions),
            "versions": {str(v): base64.b64encode(s).decode() for v, s in versions.items()},
        }
        for name, versions in SECRETS.items()
        if name != "clinic/absent"
    }
    for key in keys.values():
        key["revoked"] = []
    keys[KEY]["revoked"] = [3]
    document = {"stream": STREAM, "key": KEY, "keys": keys, "cases": cases()}
    (HERE / "records.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
