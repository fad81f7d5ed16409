"""`confide stream` and a broker of Kafka's protocol: TLS 1.3, topics whose records are sealed one by one."""

from __future__ import annotations

import pytest
from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from tests.kafka_broker import kafka_broker

pytestmark = pytest.mark.exhaustive
ROWS = [f'{{"patient": "NEEDLE-{n}", "rate": {n}}}' for n in range(4)]


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with kafka_broker(tmp_path_factory.mktemp("kafka") / "broker") as broker:
        admin = KafkaAdminClient(**broker.kafka.settings())
        admin.create_topics([NewTopic(topic, 2, 1) for topic in ("pulses", "plain", "twice")])
        admin.close()
        yield broker


@pytest.fixture
def clinic(confide, broker):
    confide.ok("init", "clinic")
    for key in ("pulses", "other"):
        confide.ok("key", "create", f"clinic/{key}")
    return confide


def stream(clinic, broker, command, topic, *more, key="clinic/pulses"):
    ca = str(broker.folder / "ca.pem")
    return clinic("stream", command, broker.location(topic), *more, "--key", key, "--ca", ca)


def append(broker, topic, *values):
    producer = KafkaProducer(acks="all", **broker.kafka.settings())
    for (
        value
    ) in values:  # each in a batch of its own: else this broker says that a batch ends after its first record
        producer.send(topic, value)
        producer.flush()
    producer.close()


def test_what_is_sent_is_read_and_the_broker_sees_none_of_it(clinic, broker):
    for number, row in enumerate(ROWS):
        (clinic.folder / f"{number}.jsonl").write_text(row + "\n")
    for number in range(len(ROWS)):
        said = stream(clinic, broker, "send", "pulses", f"{number}.jsonl")
        assert said.code == 0, said.err
        assert "1 row(s) under clinic/pulses" in said.err
    said = stream(clinic, broker, "read", "pulses")
    assert said.code == 0, said.err
    assert sorted(said.out.splitlines()) == sorted(ROWS)
    assert "repeated" not in said.err
    assert b"NEEDLE" not in broker.end.bytes
    assert b"CONFIDR" in broker.end.bytes
    assert b"CONFIDR" not in broker.wire.bytes
    assert stream(clinic, broker, "read", "pulses", key="clinic/other").code == 82


def test_what_is_repeated_or_missing_is_said(clinic, broker):
    from confide.broker.home import Home
    from confide.data.records import RecordSealer
    from confide.keys.material import Keyset
    from confide.keys.names import KeyName

    name = KeyName.parse("clinic/pulses")
    with Home.open(clinic.home, b"correct horse battery") as home:
        sealer = RecordSealer(Keyset({name: home.store.key(name)}), name, "twice")
    first, _, third = (sealer.seal(row.encode()) for row in ROWS[:3])
    append(broker, "twice", third, first, third)
    said = stream(clinic, broker, "read", "twice")
    assert said.code == 0, said.err
    assert sorted(said.out.splitlines()) == sorted([ROWS[0], ROWS[2]])
    assert "1 record(s) were repeated, and are left out; 1 that producers made" in said.err


def test_what_is_refused(clinic, broker):
    append(broker, "plain", b"a row")
    said = stream(clinic, broker, "read", "plain")
    assert (said.code, "not a sealed record" in said.err) == (94, True)
    said = stream(clinic, broker, "read", "nothing")
    assert (said.code, "no topic nothing" in said.err) == (70, True)
    for location in ("kafka://127.0.0.1:1/pulses", "kafka://localhost/pulses", "kafka://localhost:1/a/b"):
        said = clinic("stream", "read", location, "--key", "clinic/pulses")
        assert (said.code, "kafka://host:port,host:port/TOPIC" in said.err) == (64, True)
    said = clinic("stream", "read", broker.location("pulses"), "--key", "clinic/pulses")
    assert (said.code, "certificate" in said.err.lower()) == (70, True)
