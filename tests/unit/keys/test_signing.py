import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from confide.errors import InvalidFormat, Misuse, SignatureRefused
from confide.keys import signing

TYP = "confide-policy"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {"clinic": KEY.public_key()}
HEADERS = {"kid": "clinic", "typ": TYP}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def by_hand(protected: bytes, payload: bytes = b"x", key: Ed25519PrivateKey = KEY) -> dict:
    """Sign whatever the header says, as someone who holds the owner's key but not our library could."""
    signing_input = f"{b64(protected)}.{b64(payload)}"
    return {
        "protected": b64(protected),
        "payload": b64(payload),
        "signature": b64(key.sign(signing_input.encode())),
    }


@given(st.binary(max_size=500))
def test_signed_payload_comes_back(payload):
    assert signing.verify_jws(signing.sign_jws(KEY, payload, HEADERS), KEYS, TYP, 500) == payload


def test_header_comes_back():
    headers = {**HEADERS, "nonce": "n", "url": "https://broker/keys", "cty": "toml"}
    verified = signing.open_jws(signing.sign_jws(KEY, b"x", headers), KEYS, TYP, 1)
    assert verified.kid == "clinic"
    assert verified.header == {**headers, "alg": "EdDSA"}


def test_rfc8037_appendix_a4_signature():
    """The vector's header has neither kid nor typ, so only the signature is compared."""
    private = signing.private_key_from_raw(
        base64.urlsafe_b64decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=")
    )
    signed = by_hand(b'{"alg":"EdDSA"}', b"Example of Ed25519 signing", private)
    assert signed["signature"] == (
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )


def test_signature_made_elsewhere_verifies():
    protected = json.dumps({"typ": TYP, "alg": "EdDSA", "kid": "clinic"}).encode()
    assert signing.verify_jws(by_hand(protected), KEYS, TYP, 1) == b"x"


def test_large_payload_within_limit():
    payload = bytes(1 << 20)
    assert signing.verify_jws(signing.sign_jws(KEY, payload, HEADERS), KEYS, TYP, 1 << 20) == payload


def test_payload_above_limit_is_refused():
    with pytest.raises(SignatureRefused, match="payload"):
        signing.verify_jws(signing.sign_jws(KEY, b"abcd", HEADERS), KEYS, TYP, 3)


def test_other_purpose_is_refused():
    with pytest.raises(SignatureRefused, match="purpose"):
        signing.verify_jws(signing.sign_jws(KEY, b"x", HEADERS), KEYS, "confide-listing", 1)


def test_unknown_kid_is_refused():
    with pytest.raises(SignatureRefused, match="not known"):
        signing.verify_jws(signing.sign_jws(KEY, b"x", {**HEADERS, "kid": "lab"}), KEYS, TYP, 1)


def test_no_keys_refuse_everything():
    with pytest.raises(SignatureRefused):
        signing.verify_jws(signing.sign_jws(KEY, b"x", HEADERS), {}, TYP, 1)


def test_someone_elses_signature_is_refused():
    other = signing.generate_signing_key()
    with pytest.raises(SignatureRefused, match="does not verify"):
        signing.verify_jws(signing.sign_jws(other, b"x", HEADERS), KEYS, TYP, 1)


@pytest.mark.parametrize("member", ["protected", "payload", "signature"])
def test_any_changed_character_is_refused(member):
    signed = signing.sign_jws(KEY, b"a payload", HEADERS)
    for place in range(len(signed[member]) - 1):
        text = signed[member]
        changed = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(SignatureRefused):
            signing.verify_jws({**signed, member: changed}, KEYS, TYP, 100)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "ES256"},
        {"alg": "Ed25519"},
        {"alg": "Ed448"},
        {"alg": "eddsa"},
        {"alg": None},
        {"alg": ["EdDSA"]},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"b64": True},
        {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": b64(KEY.public_key().public_bytes_raw())}},
        {"jku": "https://elsewhere/keys"},
        {"x5c": ["MIIB"]},
        {"unheard-of": "x"},
        {"kid": 1},
        {"kid": None},
        {"typ": None},
        {"nonce": {"deep": "er"}},
    ],
)
def test_header_that_says_more_is_refused_although_signed(header):
    protected = json.dumps({"alg": "EdDSA", "kid": "clinic", "typ": TYP, **header}).encode()
    with pytest.raises(SignatureRefused):
        signing.verify_jws(by_hand(protected), KEYS, TYP, 1)


@pytest.mark.parametrize("missing", ["alg", "kid", "typ"])
def test_header_without(missing):
    header = {"alg": "EdDSA", "kid": "clinic", "typ": TYP}
    del header[missing]
    with pytest.raises(SignatureRefused):
        signing.verify_jws(by_hand(json.dumps(header).encode()), KEYS, TYP, 1)


@pytest.mark.parametrize(
    "protected",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"EdDSA"',
        b'[["alg","EdDSA"],["kid","clinic"],["typ","confide-policy"]]',
        b'{"alg":"EdDSA","alg":"EdDSA","kid":"clinic","typ":"confide-policy"}',
        b'{"kid":"lab","alg":"EdDSA","kid":"clinic","typ":"confide-policy"}',
        b'{"alg":"EdDSA","kid":"clinic","typ":"confide-policy"} x',
        b"\xff\xfe",
        b"[" * 1400,
    ],
)
def test_malformed_header_is_refused(protected):
    with pytest.raises(SignatureRefused):
        signing.verify_jws(by_hand(protected), KEYS, TYP, 1)


def test_none_algorithm_with_hmac_of_the_public_key_is_refused():
    signed = by_hand(b'{"alg":"HS256","kid":"clinic","typ":"confide-policy"}')
    with pytest.raises(SignatureRefused, match="algorithm"):
        signing.verify_jws(signed, KEYS, TYP, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"header": {"kid": "clinic"}},
        {"signatures": []},
        {"payload": None},
        {"payload": 7},
        {"payload": "e A"},
        {"payload": "eA=="},
        {"payload": "eA\n"},
        {"signature": ""},
        {"signature": "A" * 87},
        {"protected": "A" * 3000},
    ],
)
def test_malformed_members_are_refused(change):
    with pytest.raises(SignatureRefused):
        signing.verify_jws({**signing.sign_jws(KEY, b"x", HEADERS), **change}, KEYS, TYP, 10)


@pytest.mark.parametrize("value", [None, [], "a.b.c", 3, {}])
def test_not_a_jws(value):
    with pytest.raises(SignatureRefused):
        signing.verify_jws(value, KEYS, TYP, 10)


@pytest.mark.parametrize(
    "headers", [{}, {"kid": "a"}, {"typ": "t"}, {**HEADERS, "crit": "x"}, {**HEADERS, "jwk": "x"}]
)
def test_headers_that_would_be_refused_are_not_signed(headers):
    with pytest.raises(Misuse):
        signing.sign_jws(KEY, b"x", headers)


def test_headers_too_long_are_not_signed():
    with pytest.raises(Misuse):
        signing.sign_jws(KEY, b"x", {**HEADERS, "url": "https://" + "x" * 2000})


def test_raw_keys_round_trip():
    assert signing.raw_private(signing.private_key_from_raw(bytes(range(32)))) == bytes(range(32))
    raw = signing.raw_public(KEY.public_key())
    assert signing.raw_public(signing.public_key_from_raw(raw)) == raw
    assert len(signing.key_id(KEY.public_key())) == 64


@pytest.mark.parametrize("size", [0, 31, 33])
def test_raw_keys_of_another_length(size):
    with pytest.raises(InvalidFormat):
        signing.private_key_from_raw(bytes(size))
    with pytest.raises(InvalidFormat):
        signing.public_key_from_raw(bytes(size))
