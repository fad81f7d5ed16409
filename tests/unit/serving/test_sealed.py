"""Sealed requests and replies: the vectors, a second implementation from RFC 9180 and the format, what is refused."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from confide.errors import ConfideError, Tampered
from confide.keys.material import NamedKey
from confide.keys.names import KeyName
from confide.serving.envelope import ReplyContent, RequestContent, Target
from confide.serving.failures import Expired, InvalidRequest
from confide.serving.oip import Body
from confide.serving.pool_key import PoolKeys, keys_digest
from confide.serving.sealed import Opener, seal_fresh, seal_ticketed
from confide.serving.ticket import HeldTicket, Session, new_ticket

from ...hpke import expand, extract, hpke_open

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/serving/requests.json").read_text())
SECRETS = {int(version): bytes.fromhex(secret) for version, secret in VECTORS["secrets"].items()}
POOL = PoolKeys(NamedKey(KeyName.parse(VECTORS["key"]), VECTORS["current"], SECRETS))
TARGET, NOW_MS = Target(**VECTORS["target"]), VECTORS["now_ms"]
CONTENT = RequestContent(Body(bytes.fromhex(VECTORS["body"]), VECTORS["json_bytes"]), VECTORS["not_after_ms"])
GOOD = [case for case in VECTORS["requests"] if "error" not in case]
BAD = [case for case in VECTORS["requests"] if "error" in case]


def opened(case):
    target = Target(**case["target"]) if "target" in case else TARGET
    return Opener(POOL).open(bytes.fromhex(case["data"]), target, case.get("now_ms", NOW_MS))


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case["name"])
def test_requests_that_open(case):
    content = opened(case).content
    assert (bytes(content.body.data), content.body.json_bytes) == (CONTENT.body.data, CONTENT.body.json_bytes)
    assert content.not_after_ms == CONTENT.not_after_ms
    assert content.padded == ("padded" in case["name"])
    assert content.token == (VECTORS["token"] if "token" in case["name"] else "")


@pytest.mark.parametrize("case", BAD, ids=lambda case: case["name"])
def test_requests_that_do_not_open(case):
    with pytest.raises(ConfideError) as caught:
        opened(case)
    assert type(caught.value).__name__ == case["error"]


def test_refusals_outnumber_what_opens():
    assert len(BAD) > 5 * len(GOOD)


@pytest.mark.parametrize("case", VECTORS["replies"], ids=lambda case: case["to"])
def test_replies_open_for_their_request_alone(case):
    other = next(each for each in VECTORS["replies"] if each is not case)
    mine, theirs = (
        Opener(POOL).open(bytes.fromhex(each["request"]), TARGET, NOW_MS).reply for each in (case, other)
    )
    reply = bytes.fromhex(case["reply"])
    assert (mine.open(reply).status, bytes(mine.open(reply).body.data)) == (200, b'{"outputs":[]}')
    with pytest.raises(Tampered):
        theirs.open(reply)


def test_a_second_implementation_opens_a_fresh_request_and_its_reply():
    """From docs/formats/serving.md: header, HPKE with its info, content, reply."""
    case = VECTORS["replies"][0]
    data, reply = bytes.fromhex(case["request"]), bytes.fromhex(case["reply"])
    private = X25519PrivateKey.from_private_bytes(
        expand(extract(bytes(32), SECRETS[2]), b"confide/v1/serving/pool", 32)
    )
    named = b"confide/v1/serving/key-id\0clinic/pool:2\0" + private.public_key().public_bytes_raw()
    assert data[:18] == b"\1\1" + hashlib.sha256(named).digest()[:16]
    texts = [VECTORS["target"][name].encode() for name in ("operation", "model", "version", "context")]
    bound = data[:34] + b"".join(len(text).to_bytes(2, "big") + text for text in texts)
    plain = hpke_open(private, data[34:], b"confide/v1/serving/request\0" + bound)
    reply_key, flags, rest = plain[:32], plain[32], plain[33:]
    assert (flags, int.from_bytes(rest[:8], "big")) == (0, CONTENT.not_after_ms)
    assert int.from_bytes(rest[8:12], "big") == 13
    assert rest[16 : 16 + int.from_bytes(rest[12:16], "big")] == CONTENT.body.data
    assert reply[:2] == b"\1\3"
    said = AESGCM(reply_key).decrypt(reply[2:14], reply[14:], b"confide/v1/serving/reply\0" + bound)
    assert said == b"\0\xc8" + b"\xff" * 4 + (14).to_bytes(4, "big") + b'{"outputs":[]}'


def test_a_second_implementation_opens_a_request_under_a_ticket():
    data = bytes.fromhex(VECTORS["replies"][1]["request"])
    secret = extract(bytes(32), SECRETS[2])
    key_id, session, ticket = data[2:18], data[18:34], data[34:106]
    assert session == hashlib.sha256(ticket).digest()[:8] + bytes(8)
    tickets = AESGCM(expand(secret, b"confide/v1/serving/tickets", 32))
    plain = tickets.decrypt(ticket[:12], ticket[12:], b"confide/v1/serving/ticket\0" + key_id)
    assert int.from_bytes(plain[32:40], "big") == NOW_MS // 1000 + 3600
    assert int.from_bytes(plain[40:], "big") == 1_000_000
    key = expand(extract(bytes(32), plain[:32]), b"confide/v1/serving/ticket-request", 32)
    texts = [VECTORS["target"][name].encode() for name in ("operation", "model", "version", "context")]
    bound = data[:34] + b"".join(len(text).to_bytes(2, "big") + text for text in texts)
    said = AESGCM(key).decrypt(bytes(12), data[106:], b"confide/v1/serving/request\0" + bound + ticket)
    assert said[17:] == CONTENT.body.data


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data):
    with pytest.raises(ConfideError):
        Opener(POOL).open(data, TARGET, NOW_MS)


@given(st.sampled_from(GOOD), st.integers(0), st.integers(1, 255))
def test_no_byte_can_be_changed(case, place, bits):
    data = bytearray.fromhex(case["data"])
    data[place % len(data)] ^= bits
    with pytest.raises(ConfideError):
        Opener(POOL).open(bytes(data), TARGET, NOW_MS)


@given(st.sampled_from(VECTORS["replies"]), st.integers(0), st.integers(1, 255))
def test_no_byte_of_a_reply_can_be_changed(case, place, bits):
    key = Opener(POOL).open(bytes.fromhex(case["request"]), TARGET, NOW_MS).reply
    data = bytearray.fromhex(case["reply"])
    data[place % len(data)] ^= bits
    with pytest.raises((Tampered, InvalidRequest)):
        key.open(bytes(data))


@given(st.binary(max_size=3000), st.booleans())
def test_content_and_back(data, padded):
    content = RequestContent(Body(data, len(data) // 2), 7, padded)
    encoded = content.encode()
    assert (len(encoded) & (len(encoded) - 1) == 0 and len(encoded) >= 512) or not padded
    again = RequestContent.decode(memoryview(encoded))
    assert (bytes(again.body.data), again.body.json_bytes) == (data, len(data) // 2)


def test_sizes_of_padded_requests_and_replies_tell_little():
    sizes = set()
    for size in range(300, 450):
        data, key = seal_fresh(RequestContent(Body(b"x" * size), NOW_MS + 1, True), TARGET, POOL.public[1])
        sizes.add((len(data), len(key.seal(ReplyContent(200, Body(b"y" * size)), padded=True))))
    assert len(sizes) == 1


def held(uses=3, expires=2**40):
    key = POOL.key(POOL.public[1].id)
    ticket, secret, _, _ = new_ticket(key, NOW_MS // 1000)
    return HeldTicket(ticket, key.public.id, Session.of(secret, expires, uses))


def test_no_two_requests_under_a_ticket_have_one_nonce():
    ticket = held()
    seen = {seal_ticketed(CONTENT, TARGET, ticket)[0][18:34] for _ in range(3)}
    assert len(seen) == 3
    with pytest.raises(Expired, match="used up"):
        seal_ticketed(CONTENT, TARGET, ticket)


def test_a_client_does_not_use_a_ticket_that_has_expired():
    with pytest.raises(Expired, match="expired"):
        seal_ticketed(CONTENT, TARGET, held(expires=1))


def test_a_fork_does_not_count_on_under_its_parents_ticket():
    ticket = held()
    seal_ticketed(CONTENT, TARGET, ticket)
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            seal_ticketed(CONTENT, TARGET, ticket)
        except Expired as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as pipe:
        assert b"another process" in pipe.read()
    seal_ticketed(CONTENT, TARGET, ticket)


def test_the_pool_enforces_the_uses_of_a_ticket():
    ticket = held()
    endless = Session(ticket.session.request, ticket.session.reply, 2**40, 2**40)
    over = HeldTicket(ticket.ticket, ticket.key_id, endless, itertools.count(1_000_000))
    with pytest.raises(Expired, match="step 3"):
        Opener(POOL).open(seal_ticketed(CONTENT, TARGET, over)[0], TARGET, NOW_MS)


def test_a_ticket_is_of_one_version_of_the_key():
    ticket = held()
    moved = HeldTicket(ticket.ticket, POOL.public[0].id, ticket.session)
    with pytest.raises(Tampered, match="step 3"):
        Opener(POOL).open(seal_ticketed(CONTENT, TARGET, moved)[0], TARGET, NOW_MS)


def test_a_revoked_version_opens_nothing():
    left = PoolKeys(NamedKey(KeyName("clinic", "pool"), 2, {2: SECRETS[2]}, frozenset({1})))
    data, _ = seal_fresh(CONTENT, TARGET, POOL.public[0])
    with pytest.raises(ConfideError) as caught:
        Opener(left).open(data, TARGET, NOW_MS)
    assert type(caught.value).__name__ == "UnknownKey"


def test_the_digest_says_which_keys_and_which_is_current():
    one = POOL.public[:1]
    digests = {
        keys_digest(keys, current)
        for keys in (POOL.public, one)
        for current in (POOL.public[0].version, POOL.public[1].version)
    }
    assert len(digests) == 4


def test_nothing_secret_is_shown():
    shown = repr(
        (POOL.key(POOL.public[0].id), held(), Opener(POOL), seal_fresh(CONTENT, TARGET, POOL.public[0])[1])
    )
    assert SECRETS[1].hex() not in shown
    assert "AESGCM" not in shown
