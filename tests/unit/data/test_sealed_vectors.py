import base64
import hashlib
import io
import json
import runpy
from pathlib import Path

import pytest

import confide.errors
from confide.data.sealed import SealedReader
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName

VECTORS = Path(__file__).parents[2] / "vectors" / "sealed"
DOCUMENT = json.loads((VECTORS / "sealed.json").read_text("utf-8"))
CASES = {case["name"]: case for case in DOCUMENT["cases"]}


def keyset() -> Keyset:
    keys = {}
    for text, key in DOCUMENT["keys"].items():
        name = KeyName.parse(text)
        secrets = {int(v): base64.b64decode(s) for v, s in key["versions"].items()}
        keys[name] = NamedKey(name, key["current"], secrets, frozenset(key["revoked"]))
    return Keyset(keys)


def sealed_bytes(case: dict) -> bytes:
    if "sealed" in case:
        return base64.b64decode(case["sealed"])
    if "sealed_bin" in case:
        return (VECTORS / case["sealed_bin"]).read_bytes()
    data = sealed_bytes(CASES[case["base"]])
    if "slices" in case:
        data = b"".join(data[start:end] for start, end in case["slices"])
    changed = bytearray(data)
    for offset in case.get("flip", ()):
        changed[offset] ^= 1
    return bytes(changed) + base64.b64decode(case.get("append", ""))


def plaintext(case: dict) -> bytes:
    if "plaintext" in case:
        return base64.b64decode(case["plaintext"])
    pattern, size = base64.b64decode(case["plaintext_repeat"]["pattern"]), case["plaintext_repeat"]["bytes"]
    return (pattern * (size // len(pattern) + 1))[:size]


@pytest.mark.parametrize("name", CASES)
def test_vector(name: str) -> None:
    case = CASES[name]
    expected = {k: case[k] for k in ("expected_folder", "expected_binding") if k in case}
    sealed = io.BytesIO(sealed_bytes(case))
    if case["expect"] == "ok":
        reader = SealedReader(sealed, keyset(), **expected)
        assert reader.binding == case["binding"]
        assert reader.read() == plaintext(case)
    else:
        with pytest.raises(getattr(confide.errors, case["expect"])) as caught:
            SealedReader(sealed, keyset(), **expected).read()
        assert type(caught.value).__name__ == case["expect"]


def test_more_negative_than_positive() -> None:
    positive = [case for case in CASES.values() if case["expect"] == "ok"]
    assert len(CASES) > 4 * len(positive)


def test_generator_is_deterministic() -> None:
    generator = runpy.run_path(str(VECTORS / "generate.py"))
    _, files = generator["positive"]()
    stored = (VECTORS / "two-segments.bin").read_bytes()
    assert hashlib.sha256(files["two segments"]).digest() == hashlib.sha256(stored).digest()
    assert base64.b64encode(files["text"]).decode() == CASES["text"]["sealed"]
