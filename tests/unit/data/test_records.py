"""Sealed records: what comes out is what went in, in its order, and everything else is refused."""

from __future__ import annotations

import base64
import json
import runpy
import secrets
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import confide.errors
from confide.data import records
from confide.data.records import MAX_PLAIN_BYTES, OpenedRecord, RecordOpener, RecordSealer
from confide.errors import ConfideError, InvalidFormat, Misuse, RevokedKey, Tampered, UnknownKey
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName

VECTORS = Path(__file__).parents[2] / "vectors" / "records"
DOCUMENT = json.loads((VECTORS / "records.json").read_text("utf-8"))
CASES = {case["name"]: case for case in DOCUMENT["cases"]}
KEY = KeyName("clinic", "pulses")


def keyset(**changes) -> Keyset:
    return Keyset({KEY: NamedKey(KEY, **{"current": 1, "secrets": {1: b"s" * 32}, **changes})})


def vector_keys() -> Keyset:
    keys = {}
    for text, key in DOCUMENT["keys"].items():
        name = KeyName.parse(text)
        found = {int(v): base64.b64decode(s) for v, s in key["versions"].items()}
        keys[name] = NamedKey(name, key["current"], found, frozenset(key["revoked"]))
    return Keyset(keys)


@pytest.mark.parametrize("name", CASES)
def test_vectors(name):
    case = CASES[name]
    last = {bytes.fromhex(producer): number for producer, number in case.get("last", {}).items()}
    opener = RecordOpener(
        vector_keys(),
        KeyName.parse(DOCUMENT["key"]),
        DOCUMENT["stream"],
        last=last,
        whole=case.get("whole", True),
    )
    *before, newest = [base64.b64decode(each) for each in case["records"]]
    opened = [opener.open(each) for each in before]
    if case["expect"] == "ok":
        opened.append(opener.open(newest))
        assert opened == [base64.b64decode(each) for each in case["plain"]]
        return
    then = dict(opener.last)
    with pytest.raises(getattr(confide.errors, case["expect"])):
        opener.open(newest)
    assert opener.last == then  # what was refused was not taken as opened


def test_the_vectors_are_those_of_the_generator(tmp_path):
    generator = runpy.run_path(str(VECTORS / "generate.py"))
    generator["main"].__globals__["HERE"] = tmp_path
    generator["main"]()
    assert (tmp_path / "records.json").read_bytes() == (VECTORS / "records.json").read_bytes()


@given(st.lists(st.binary(max_size=200), max_size=12))
def test_what_is_sealed_opens_in_its_order(rows):
    sealer, opener = RecordSealer(keyset(), KEY, "pulses"), RecordOpener(keyset(), KEY, "pulses")
    assert [opener.open(sealer.seal(row)) for row in rows] == rows
    assert opener.last == ({sealer.producer: len(rows)} if rows else {})


@given(st.data())
def test_any_other_sequence_is_refused_where_it_departs(data):
    sealer = RecordSealer(keyset(), KEY, "pulses")
    rows = [sealer.seal(bytes([n])) for n in range(5)]
    shown = data.draw(st.lists(st.integers(0, 4), max_size=8))
    opener = RecordOpener(keyset(), KEY, "pulses")
    for place, which in enumerate(shown):
        if which == place:
            assert opener.open(rows[which]) == bytes([which])
        else:
            with pytest.raises(Tampered):
                opener.open(rows[which])
            break


@given(st.data())
def test_a_changed_record_is_refused(data):
    record = RecordSealer(keyset(), KEY, "pulses").seal(b"a row")
    offset, bit = data.draw(st.integers(0, len(record) - 1)), data.draw(st.integers(0, 7))
    changed = bytearray(record)
    changed[offset] ^= 1 << bit
    with pytest.raises(ConfideError):
        RecordOpener(keyset(), KEY, "pulses", whole=False).open(bytes(changed))


@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_raise_anything_else(data, marked):
    with pytest.raises(ConfideError):
        RecordOpener(keyset(), KEY, "pulses").open((records.MAGIC if marked else b"") + data)


def test_a_reader_goes_on_where_it_stopped():
    sealer = RecordSealer(keyset(), KEY, "pulses")
    first, second = RecordOpener(keyset(), KEY, "pulses"), sealer.seal(b"1")
    first.open(second)
    opener = RecordOpener(keyset(), KEY, "pulses", last=first.last)
    with pytest.raises(Tampered, match="repeated"):
        opener.open(second)
    assert opener.open(sealer.seal(b"2")) == b"2"


def test_the_reason_says_what_is_the_matter():
    sealer, opener = RecordSealer(keyset(), KEY, "pulses"), RecordOpener(keyset(), KEY, "pulses")
    rows = [sealer.seal(b"x") for _ in range(3)]
    with pytest.raises(Tampered, match=r"records are missing: number 2 of producer [0-9a-f]{32} after none"):
        opener.open(rows[1])
    opener.open(rows[0])
    with pytest.raises(Tampered, match=r"repeated, or is out of order: number 1 of .* after 1"):
        opener.open(rows[0])


def test_two_producers_have_data_keys_of_their_own():
    one, other = (RecordSealer(keyset(), KEY, "pulses") for _ in range(2))
    assert one.producer != other.producer
    assert one.data_key_id != other.data_key_id
    assert one.seal(b"same")[-20:] != other.seal(b"same")[-20:]


def test_the_number_of_producers_is_bounded(monkeypatch):
    monkeypatch.setattr(records, "MAX_PRODUCERS", 2)
    opener = RecordOpener(keyset(), KEY, "pulses", last={secrets.token_bytes(16): 1 for _ in range(2)})
    with pytest.raises(InvalidFormat, match="producers"):
        opener.open(RecordSealer(keyset(), KEY, "pulses").seal(b"x"))


def test_the_largest_row(monkeypatch):
    sealer, opener = RecordSealer(keyset(), KEY, "pulses"), RecordOpener(keyset(), KEY, "pulses")
    assert opener.open(sealer.seal(bytes(MAX_PLAIN_BYTES))) == bytes(MAX_PLAIN_BYTES)
    monkeypatch.setattr(records, "MAX_PLAIN_BYTES", MAX_PLAIN_BYTES + 1)
    larger = sealer.seal(bytes(MAX_PLAIN_BYTES + 1))
    monkeypatch.undo()
    with pytest.raises(InvalidFormat, match="262144"):
        opener.open(larger)


def test_what_cannot_be_sealed():
    with pytest.raises(Misuse, match="name"):
        RecordSealer(keyset(), KEY, "")
    with pytest.raises(UnknownKey):
        RecordSealer(keyset(), KeyName("clinic", "other"), "pulses")
    with pytest.raises(RevokedKey):
        RecordSealer(keyset(current=None), KEY, "pulses")
    sealer = RecordSealer(keyset(), KEY, "pulses")
    with pytest.raises(Misuse, match="262144"):
        sealer.seal(bytes(MAX_PLAIN_BYTES + 1))
    assert sealer.number == 0  # the next one leaves no gap


@given(st.data())
def test_a_record_that_is_opened_alone_stands_anywhere(data):
    sealer = RecordSealer(keyset(), KEY, "pulses")
    rows = [sealer.seal(bytes([n])) for n in range(5)]
    opener = RecordOpener(keyset(), KEY, "pulses")
    for which in data.draw(st.lists(st.integers(0, 4), max_size=8)):
        assert opener.open_alone(rows[which]) == OpenedRecord(sealer.producer, which + 1, bytes([which]))
    assert opener.last == {}


def test_a_record_of_another_stream_is_refused_alone_too():
    record = RecordSealer(keyset(), KEY, "alarms").seal(b"a row")
    with pytest.raises(Tampered):
        RecordOpener(keyset(), KEY, "pulses").open_alone(record)


def test_of_many_producers_few_keys_are_kept(monkeypatch):
    monkeypatch.setattr(records, "_MAX_OPEN", 3)
    opener = RecordOpener(keyset(), KEY, "pulses")
    made = [RecordSealer(keyset(), KEY, "pulses").seal(bytes([n])) for n in range(10)]
    for _ in range(2):
        assert [opener.open_alone(each).row for each in made] == [bytes([n]) for n in range(10)]
        assert len(opener._open) <= 3
