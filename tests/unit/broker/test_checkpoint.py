import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from confide.broker.checkpoint import (
    Checkpoint,
    _parse_verifier,
    _verifies,
    open_checkpoint,
    origin_of,
    sign_checkpoint,
    verifier_key,
)
from confide.errors import InvalidFormat, Tampered

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VERIFIER = verifier_key(KEY.public_key())
ORIGIN = origin_of(KEY.public_key())
ROOT = bytes(range(32))
NOTE = sign_checkpoint(7, ROOT, KEY)


def test_signed_state_comes_back():
    assert open_checkpoint(NOTE, VERIFIER) == Checkpoint(ORIGIN, 7, ROOT)


def test_vector():
    """docs/formats/audit-log.md shows this note."""
    assert VERIFIER == (
        "confide-audit/56475aa75463474c0285df5dbf2bcab7+21bf44e0+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
    )
    assert NOTE == (
        "confide-audit/56475aa75463474c0285df5dbf2bcab7\n"
        "7\n"
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
        "\n"
        "— confide-audit/56475aa75463474c0285df5dbf2bcab7 "
        "Ib9E4L2fLveftiRcMUFsphVyfeQxOoUaAZJUFoFSOHq9qHKEZhl1DczOpa1yL4UmMSPXCLIWM+WH9PSGxMKNJqzdrwU=\n"
    )


def test_signed_note_specification_vector():
    """The key and note that the signed-note specification's reference implementation documents."""
    name, key_hash, key = _parse_verifier(
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    )
    body = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n"
    )
    signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    assert name == "PeterNeumann"
    assert _verifies(signature, key_hash, key, body.encode())
    assert not _verifies(signature, key_hash, key, body.encode() + b"!")


def test_other_signatures_are_passed_over():
    other = sign_checkpoint(7, ROOT, Ed25519PrivateKey.generate()).rpartition("\n\n")[2]
    body, _, own = NOTE.rpartition("\n\n")
    assert open_checkpoint(f"{body}\n\n{other}{own}", VERIFIER).size == 7


@pytest.mark.parametrize(
    "change",
    [
        lambda note: note.replace("\n7\n", "\n8\n"),
        lambda note: note.replace("\n7\n", "\n07\n"),
        lambda note: note.replace("\n7\n", "\n-7\n"),
        lambda note: note.replace("\n7\n", "\n7\nextension\n"),
        lambda note: note.replace("AAEC", "AAED"),
        lambda note: note.replace(ORIGIN, "elsewhere"),
        lambda note: note.replace("confide-audit", "confide-audit2", 1),
        lambda note: note.replace("\n\n", "\n"),
        lambda note: note.removesuffix("\n"),
        lambda note: note + "\n",
        lambda note: note + "trailing",
        lambda note: note.replace("—", "-"),
        lambda note: note.replace("\n", "\r\n"),
        lambda note: note.partition("—")[0],
        lambda note: note[:-10] + "AAAAAAA==\n",
        lambda note: note + "— x y\n" * 5000,
        lambda _: "",
        lambda _: "\n\n\n",
    ],
)
def test_changed_note_is_refused(change):
    with pytest.raises(Tampered):
        open_checkpoint(change(NOTE), VERIFIER)


def test_note_of_another_key_is_refused():
    other = Ed25519PrivateKey.generate()
    with pytest.raises(Tampered):
        open_checkpoint(sign_checkpoint(7, ROOT, other), VERIFIER)


def test_note_that_claims_this_origin_is_refused():
    """A forger names our log and copies our key hash, but signs with a key of their own."""
    body, _, line = NOTE.rpartition("\n\n")
    key_hash = base64.b64decode(line.split(" ")[2])[:4]
    body = body.replace("\n7\n", "\n9\n") + "\n"
    blob = base64.b64encode(key_hash + Ed25519PrivateKey.generate().sign(body.encode())).decode()
    with pytest.raises(Tampered, match="not signed"):
        open_checkpoint(f"{body}\n— {ORIGIN} {blob}\n", VERIFIER)


@given(st.text(max_size=300))
def test_arbitrary_text(text):
    with pytest.raises(Tampered):
        open_checkpoint(text, VERIFIER)


@pytest.mark.parametrize(
    "verifier",
    [
        "",
        "x",
        VERIFIER + "A",
        VERIFIER.replace("+2", "+4"),
        VERIFIER.replace("+AQ", "+AR"),
        VERIFIER.replace("56475", "66475"),
        VERIFIER + "\n",
    ],
)
def test_malformed_verifier_key(verifier):
    with pytest.raises(InvalidFormat):
        open_checkpoint(NOTE, verifier)
