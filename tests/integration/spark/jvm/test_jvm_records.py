"""Sealed records in Java: the vectors, and that Python opens what Java seals and the reverse."""

from __future__ import annotations

import base64
import json

import pytest

from confide.data.records import MAX_PLAIN_BYTES, RecordOpener, RecordSealer
from confide.errors import Tampered
from confide.keys.names import KeyName

from .conftest import READ_STREAM, RECORDS, STREAM

pytestmark = pytest.mark.spark

KEY = KeyName.parse(RECORDS["key"])


def opener(world, last=None, whole=True, location=STREAM):
    jackson = world.spark._jvm.com.fasterxml.jackson.databind
    mapper = jackson.ObjectMapper().enable(jackson.DeserializationFeature.USE_LONG_FOR_INTS)
    kind = world.spark._jvm.java.lang.Class.forName("java.util.HashMap")
    known = mapper.readValue(json.dumps(last or {}), kind)  # Py4J makes every small number an Integer
    return world.spark._jvm.confide.RecordOpener(location, known, whole), known


def sealer(world, producer=None, number=0, location=STREAM):
    sealing = world.spark._jvm.confide.RecordSealer
    return sealing(location, sealing.newProducer() if producer is None else producer, number)


@pytest.mark.parametrize("case", RECORDS["cases"], ids=lambda case: case["name"])
def test_vectors(world, case):
    opening, known = opener(world, case.get("last"), case.get("whole", True))
    *before, newest = [base64.b64decode(each) for each in case["records"]]
    opened = [bytes(opening.open(each)) for each in before]
    if case["expect"] == "ok":
        opened.append(bytes(opening.open(newest)))
        assert opened == [base64.b64decode(each) for each in case["plain"]]
        return
    then = dict(known)
    with pytest.raises(Exception, match=f"ConfideException: {case['expect']}:"):
        opening.open(newest)
    assert dict(known) == then


@pytest.mark.parametrize("rows", [[b""], [b"one", b"two", bytes(range(256)) * 1024]])
def test_python_opens_what_java_seals_and_the_reverse(world, rows):
    sealing, reading = sealer(world), RecordOpener(world.keyset, KEY, "pulses")
    assert [reading.open(bytes(sealing.seal(row))) for row in rows] == rows
    assert reading.last == {bytes(sealing.producer()): len(rows)}
    written, opening = RecordSealer(world.keyset, KEY, "pulses"), opener(world)[0]
    assert [bytes(opening.open(written.seal(row))) for row in rows] == rows


def test_a_producer_that_goes_on_has_a_new_data_key(world):
    first, reading = sealer(world), RecordOpener(world.keyset, KEY, "pulses")
    one = bytes(first.seal(b"1"))
    second = sealer(world, first.producer(), first.number())
    assert second.dataKey() != first.dataKey()
    two = bytes(second.seal(b"2"))
    assert [reading.open(one), reading.open(two)] == [b"1", b"2"]
    with pytest.raises(Tampered, match="repeated"):
        reading.open(bytes(first.seal(b"another second")))


def test_java_refuses_what_is_too_large_both_ways(world, monkeypatch):
    sealing = sealer(world)
    with pytest.raises(Exception, match="Misuse: a record has at most 262144"):
        sealing.seal(bytes(MAX_PLAIN_BYTES + 1))
    assert sealing.number() == 0
    monkeypatch.setattr("confide.data.records.MAX_PLAIN_BYTES", MAX_PLAIN_BYTES + 1)
    larger = RecordSealer(world.keyset, KEY, "pulses").seal(bytes(MAX_PLAIN_BYTES + 1))
    with pytest.raises(Exception, match="InvalidFormat: sealed record of more than"):
        opener(world)[0].open(larger)


def test_a_stream_that_is_not_granted_is_refused(world):
    with pytest.raises(
        Exception, match=r"NoGrant: no grant for the stream rediss://redis.example:6380/doses; granted: "
    ):
        opener(world, location="rediss://redis.example:6380/doses")
    with pytest.raises(Exception, match=r"NoGrant: .* is to read, not to write"):
        sealer(world, location=READ_STREAM)
    assert opener(world, location=READ_STREAM)


def test_a_stream_is_no_place_for_files(world):
    path = world.spark._jvm.org.apache.hadoop.fs.Path(STREAM)
    with pytest.raises(Exception, match=r"(No FileSystem|no storage)"):
        path.getFileSystem(world.spark._jsc.hadoopConfiguration()).create(path)


def test_no_record_is_opened_under_weakened_settings(world):
    record = RecordSealer(world.keyset, KEY, "pulses").seal(b"x")
    world.enforced(False)
    try:
        with pytest.raises(Exception, match="LaunchRefused"):
            opener(world)[0].open(record)
        with pytest.raises(Exception, match="LaunchRefused"):
            sealer(world)
    finally:
        world.enforced(True)
