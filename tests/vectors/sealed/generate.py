"""Write sealed.json and two-segments.bin: `python tests/vectors/sealed/generate.py`.

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
MAGIC = b"CONFIDE\x01"
SEGMENT = 1 << 20
FOLDER = "00112233445566778899aabbccddeeff"
OTHER_FOLDER = "ffeeddccbbaa99887766554433221100"
SECRETS = {
    "clinic/patients": {1: b"\x01" * 32, 2: b"\x02" * 32},
    "bank/ledger": {1: b"\x03" * 32},
    "clinic/old": {1: b"\x04" * 32},
    "clinic/absent": {1: b"\x05" * 32},
}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def stream_bytes(label: str, size: int) -> bytes:
    return hashlib.shake_256(label.encode()).digest(size)


def hkdf(key: bytes, salt: bytes | None, info: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, salt=salt, info=info).derive(key)


def header(label: str, key: str, version: int, **changes: object) -> tuple[bytes, bytes]:
    """Return the header's bytes and the data key; a change of None leaves the field out."""
    file, dek = stream_bytes(label + "/file", 16).hex(), stream_bytes(label + "/dek", 32)
    context = f"sealed:{key}:{version}@{FOLDER}/{file}".encode()
    nonce = stream_bytes(label + "/wrap", 12)
    secret = SECRETS[key].get(version, b"\x08" * 32)
    wrapped = nonce + AESGCM(hkdf(secret, None, b"confide/v1/wrap")).encrypt(nonce, dek, context)
    fields = {"dek": b64(wrapped), "file": file, "folder": FOLDER, "key": f"{key}:{version}"}
    fields |= {name.removesuffix("_field"): value for name, value in changes.items()}
    fields = {name: value for name, value in fields.items() if value is not None}
    document = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    return framed(document), dek


def framed(document: bytes, magic: bytes = MAGIC) -> bytes:
    return magic + len(document).to_bytes(2, "big") + document


def body(label: str, dek: bytes, associated: bytes, plaintext: bytes) -> bytes:
    salt, prefix = stream_bytes(label + "/salt", 32), stream_bytes(label + "/prefix", 7)
    aead = AESGCM(hkdf(dek, salt, associated))
    pieces, position, room = [], 0, SEGMENT - 16 - 40
    while len(plaintext) - position > room:
        pieces.append(plaintext[position : position + room])
        position, room = position + room, SEGMENT - 16
    pieces.append(plaintext[position:])
    out = bytes([40]) + salt + prefix
    for i, piece in enumerate(pieces):
        last = i == len(pieces) - 1
        out += aead.encrypt(prefix + i.to_bytes(4, "big") + bytes([last]), piece, None)
    return out


def sealed(label: str, plaintext: bytes, key: str = "clinic/patients", version: int = 1) -> tuple[bytes, str]:
    head, dek = header(label, key, version)
    return head + body(label, dek, head, plaintext), hashlib.sha256(head).hexdigest()


def positive() -> tuple[list[dict], dict[str, bytes]]:
    cases, files = [], {}
    small = {
        "empty": (b"", "clinic/patients", 1),
        "one byte": (b"\x00", "clinic/patients", 1),
        "text": ("id,note\n1,Grüße aus Zürich\n".encode(), "clinic/patients", 2),
        "another owner": (b"account,balance\n7,12.50\n", "bank/ledger", 1),
    }
    for name, (plaintext, key, version) in small.items():
        files[name], binding = sealed(name, plaintext, key, version)
        cases.append({"name": name, "expect": "ok", "sealed": b64(files[name]), "plaintext": b64(plaintext),
                      "binding": binding})  # fmt: skip
    pattern = b"0123456789abcdef confide\n"
    size = SEGMENT + 1000
    files["two segments"], binding = sealed("two segments", (pattern * (size // len(pattern) + 1))[:size])
    cases.append({"name": "two segments", "expect": "ok", "sealed_bin": "two-segments.bin", "binding": binding,
                  "plaintext_repeat": {"pattern": b64(pattern), "bytes": size}})  # fmt: skip
    expected = {"name": "text as expected", "base": "text", "expected_folder": FOLDER,
                "expected_binding": cases[2]["binding"]}  # fmt: skip
    cases.append(
        expected | {"expect": "ok", "plaintext": cases[2]["plaintext"], "binding": cases[2]["binding"]}
    )
    return cases, files


def negative(files: dict[str, bytes]) -> list[dict]:
    text, big = files["text"], files["two segments"]
    start = 10 + int.from_bytes(text[8:10], "big")
    big_start = 10 + int.from_bytes(big[8:10], "big")
    one_start = 10 + int.from_bytes(files["one byte"][8:10], "big")
    second = big_start + SEGMENT

    def case(name: str, expect: str, base: str = "text", **more: object) -> dict:
        return {"name": name, "expect": expect, "base": base, **more}

    def raw(name: str, expect: str, data: bytes) -> dict:
        return {"name": name, "expect": expect, "sealed": b64(data)}

    def rebuilt(
        name: str, expect: str, key: str = "clinic/patients", version: int = 1, **changes: object
    ) -> dict:
        head, dek = header(name, key, version, **changes)
        return raw(name, expect, head + body(name, dek, head, b"data"))

    def document(name: str, text: bytes) -> dict:
        head = framed(text)
        return raw(name, "InvalidFormat", head + body(name, b"\x09" * 32, head, b"data"))

    good = json.loads(text[10:start])
    return [
        raw("nothing", "NotEncrypted", b""),
        raw("plain CSV", "NotEncrypted", b"id,name\n1,Ada\n"),
        raw("plain Parquet", "NotEncrypted", b"PAR1" + bytes(40) + b"PAR1"),
        raw("encrypted Parquet", "NotEncrypted", b"PARE" + bytes(40) + b"PARE"),
        raw("lower-case magic", "NotEncrypted", b"confide\x01" + text[8:]),
        raw("version 2", "InvalidFormat", b"CONFIDE\x02" + text[8:]),
        raw("version 0", "InvalidFormat", b"CONFIDE\x00" + text[8:]),
        case("cut in the magic's version", "Tampered", slices=[[0, 7]]),
        case("cut in the length", "Tampered", slices=[[0, 9]]),
        case("cut in the header", "Tampered", slices=[[0, start - 1]]),
        case("header only", "Tampered", slices=[[0, start]]),
        case("cut in the salt", "Tampered", slices=[[0, start + 20]]),
        case("no segment", "Tampered", slices=[[0, start + 40]]),
        case("cut in the tag", "Tampered", slices=[[0, start + 55]]),
        case("one byte short", "Tampered", slices=[[0, len(text) - 1]]),
        case("one byte more", "Tampered", append=b64(b"\x00")),
        case("first byte of the data lost", "Tampered", slices=[[0, start + 40], [start + 41, len(text)]]),
        case("flip in the first data byte", "Tampered", flip=[start + 40]),
        case("flip in the tag", "Tampered", flip=[len(text) - 1]),
        case("flip in the salt", "Tampered", flip=[start + 1]),
        case("flip in the nonce prefix", "Tampered", flip=[start + 33]),
        case("stream header's length", "InvalidFormat", flip=[start]),
        case("flip in the wrapped key", "Tampered", flip=[10 + 8]),
        case("flip in the file id", "Tampered", flip=[10 + text[10:].index(good["file"].encode())]),
        case("flip in the folder id", "Tampered", flip=[10 + text[10:].index(good["folder"].encode())]),
        case(
            "body of another file",
            "Tampered",
            base="one byte",
            slices=[[0, one_start]],
            append=b64(text[start:]),
        ),
        case("expected folder", "FileChanged", expected_folder=OTHER_FOLDER),
        case("expected binding", "FileChanged", expected_binding="00" * 32),
        case("second segment lost", "Tampered", base="two segments", slices=[[0, second]]),
        case(
            "first segment lost",
            "Tampered",
            base="two segments",
            slices=[[0, big_start + 40], [second, len(big)]],
        ),
        case(
            "second segment doubled",
            "Tampered",
            base="two segments",
            slices=[[0, len(big)], [second, len(big)]],
        ),
        case("second segment cut", "Tampered", base="two segments", slices=[[0, second + 500]]),
        case("second segment less than a tag", "Tampered", base="two segments", slices=[[0, second + 15]]),
        case("flip in the first segment", "Tampered", base="two segments", flip=[big_start + 100_000]),
        case("flip in the second segment", "Tampered", base="two segments", flip=[second + 100]),
        case("flip in the first segment's tag", "Tampered", base="two segments", flip=[second - 1]),
        rebuilt("revoked version", "RevokedKey", "clinic/old", 1),
        rebuilt("key not held", "UnknownKey", "clinic/absent", 1),
        rebuilt("version not held", "UnknownKey", version=9),
        rebuilt("wrapped for another folder", "Tampered", folder=OTHER_FOLDER),
        rebuilt("wrapped for another file", "Tampered", file="00" * 16),
        rebuilt("wrapped key too short", "Tampered", dek=b64(b"short")),
        rebuilt("wrapped key not base64", "InvalidFormat", dek="****"),
        rebuilt("wrapped key not canonical base64", "InvalidFormat", dek="QQ==QQ=="),
        rebuilt("upper-case file id", "InvalidFormat", file="AA" * 16),
        rebuilt("short folder id", "InvalidFormat", folder="00" * 15),
        rebuilt("key without version", "InvalidFormat", key_field="clinic/patients"),
        rebuilt("key with version 0", "InvalidFormat", key_field="clinic/patients:0"),
        rebuilt("no file id", "InvalidFormat", file=None),
        rebuilt("unknown field", "InvalidFormat", note="hello"),
        rebuilt("number for text", "InvalidFormat", file=7),
        document("not JSON", b"dek=1"),
        document("JSON list", b"[]"),
        document("empty document", b""),
        document("space after a comma", json.dumps(good, sort_keys=True).encode()),
        document(
            "fields in another order",
            json.dumps(dict(reversed(good.items())), separators=(",", ":")).encode(),
        ),
        document("field twice", b'{"dek":"AA==",' + text[11:start]),
        document("not UTF-8", text[10 : start - 2] + b"\xff" + text[start - 1 : start]),
        raw("header too long", "InvalidFormat", framed(b"{" + b" " * 4095 + b"}") + bytes(56)),
    ]


def main() -> None:
    cases, files = positive()
    cases += negative(files)
    (HERE / "two-segments.bin").write_bytes(files["two segments"])
    held = {
        name: {
            "current": max(versions),
            "versions": {str(v): b64(s) for v, s in versions.items()},
            "revoked": [],
        }
        for name, versions in SECRETS.items()
        if name != "clinic/absent"
    }
    held["clinic/old"] = {"current": None, "versions": {}, "revoked": [1]}
    document = {"format": "confide sealed file vectors, version 1", "keys": held, "cases": cases}
    (HERE / "sealed.json").write_text(
        json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main()
