import json

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from confide.errors import InvalidFormat
from confide.keys.recovery.documents import (
    MAX_ANSWER_BYTES,
    MAX_SET_BYTES,
    Answer,
    RecoverySet,
    decode,
    encode,
)
from confide.keys.recovery.recover import answer, split_root

from .conftest import ROOT, STORE


@pytest.fixture
def document(given):
    return json.loads(given.canonical())


def parse(document) -> RecoverySet:
    return RecoverySet.parse(json.dumps(document).encode())


def test_a_set_is_what_was_written(given):
    assert RecoverySet.parse(given.canonical()) == given
    assert RecoverySet.parse(given.canonical()).digest() == given.digest()


def test_a_set_may_be_laid_out_otherwise(given, document):
    again = RecoverySet.parse(json.dumps(document, indent=4, sort_keys=False).encode())
    assert again.digest() == given.digest()


def test_an_answer_is_what_was_written(given, keys):
    made = answer(given, keys["ana"], keys["machine"].public)
    assert Answer.parse(made.canonical()) == made


def test_documents_hold_no_secret(given, keys):
    made = answer(given, keys["ana"], keys["machine"].public)
    for text in (given.canonical(), made.canonical(), repr(given).encode(), repr(made).encode()):
        assert ROOT.hex().encode() not in text
        assert encode(ROOT + bytes(48))[:40].encode() not in text


def test_no_two_sets_are_alike(owners):
    one, two = (split_root(ROOT, STORE, 2, owners) for _ in range(2))
    assert (one.set, one.commitment, one.digest()) != (two.set, two.commitment, two.digest())
    assert not {share.commitment for share in one.shares} & {share.commitment for share in two.shares}


@pytest.mark.parametrize(
    "change",
    [
        {"format": "confide/recovery-set/v2"},
        {"format": "confide/recovery-answer/v1"},
        {"format": None},
        {"store": ""},
        {"store": "0F" * 16},
        {"store": "0f" * 17},
        {"set": "0f" * 15},
        {"set": 7},
        {"threshold": 0},
        {"threshold": 1},
        {"threshold": 4},
        {"threshold": 256},
        {"threshold": -2},
        {"threshold": "2"},
        {"threshold": 2.0},
        {"threshold": True},
        {"commitment": "0" * 63},
        {"commitment": "0" * 64 + "\n"},
        {"shares": []},
        {"shares": None},
        {"shares": {}},
        {"more": 1},
    ],
    ids=str,
)
def test_a_malformed_set(document, change):
    with pytest.raises(InvalidFormat):
        parse(document | change)


@pytest.mark.parametrize("field", ["store", "set", "threshold", "commitment", "shares"])
def test_a_set_without_a_field(document, field):
    del document[field]
    with pytest.raises(InvalidFormat):
        parse(document)


@pytest.mark.parametrize(
    "change",
    [
        {"index": 0},
        {"index": 2},
        {"index": 256},
        {"index": "1"},
        {"owner": ""},
        {"owner": "ana ben"},
        {"owner": "-ana"},
        {"owner": "a" * 65},
        {"owner": "ana\n"},
        {"owner": "ana\x1b[2J"},
        {"owner": "аna"},  # Cyrillic
        {"owner": "ben"},
        {"key": "0"},
        {"commitment": ""},
        {"sealed": ""},
        {"sealed": "A" * 108},
        {"sealed": "A" * 106 + "B="},
        {"sealed": "A" * 106 + "=="},
        {"sealed": "A" * 107 + "=\n"},
        {"sealed": "A" * 111 + "="},
        {"sealed": "-" * 107 + "="},
        {"more": 1},
    ],
    ids=str,
)
def test_a_malformed_share(document, change):
    document["shares"][0] |= change
    with pytest.raises(InvalidFormat):
        parse(document)


def test_shares_out_of_their_order(document):
    for order in ([1, 0, 2], [0, 2, 1], [0, 0, 1], [1, 2], [0, 2], [0]):
        with pytest.raises(InvalidFormat):
            parse(document | {"shares": [document["shares"][place] for place in order]})


def test_two_shares_of_one_key(document):
    document["shares"][1]["key"] = document["shares"][0]["key"]
    with pytest.raises(InvalidFormat):
        parse(document)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "confide/recovery-set/v1"},
        {"set": "0" * 32},
        {"index": 0},
        {"index": 256},
        {"index": True},
        {"to": "g" * 64},
        {"to": None},
        {"sealed": "A" * 106 + "B="},
        {"sealed": None},
        {"more": 1},
    ],
    ids=str,
)
def test_a_malformed_answer(given, keys, change):
    document = json.loads(answer(given, keys["ana"], keys["machine"].public).canonical())
    with pytest.raises(InvalidFormat):
        Answer.parse(json.dumps(document | change).encode())


def test_too_large(given, keys):
    whole = given.canonical()
    assert RecoverySet.parse(whole + b" " * (MAX_SET_BYTES - len(whole)))
    with pytest.raises(InvalidFormat):
        RecoverySet.parse(whole + b" " * (MAX_SET_BYTES - len(whole) + 1))
    whole = answer(given, keys["ana"], keys["machine"].public).canonical()
    with pytest.raises(InvalidFormat):
        Answer.parse(whole + b" " * (MAX_ANSWER_BYTES - len(whole) + 1))


def test_the_largest_set_fits(given):
    share = given.shares[0]
    shares = [
        share.model_copy(update={"index": i, "key": f"{i:064x}", "owner": f"{i:064d}"}) for i in range(1, 256)
    ]
    whole = given.model_copy(update={"shares": shares, "threshold": 255}).canonical()
    assert RecoverySet.parse(whole).threshold == 255


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"{" * 5000, b"[" * 200_000])
def test_not_even_that(data):
    for kind in (RecoverySet, Answer):
        with pytest.raises(InvalidFormat):
            kind.parse(data)


@settings(max_examples=100)
@for_all(st.binary(max_size=300))
def test_arbitrary_bytes(data):
    for kind in (RecoverySet, Answer):
        with pytest.raises(InvalidFormat):
            kind.parse(data)


def test_base64_of_80_bytes_and_nothing_else():
    assert decode(encode(bytes(range(80)))) == bytes(range(80))
    for size in (0, 79, 81):
        with pytest.raises(ValueError):
            encode(bytes(size))
