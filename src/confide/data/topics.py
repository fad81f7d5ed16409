"""Topics of sealed records in a Kafka, from the owner's side. Format: docs/formats/sealed-record.md.

Programs with a Kafka client of their own need `confide.data.records` alone: `RecordSealer.seal` makes the value of a
record, `RecordOpener.open_alone` opens one.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from confide.data.records import RecordOpener, RecordSealer
from confide.data.verified_tls import verified_tls
from confide.errors import NotEncrypted, Unavailable

CONNECT_S = 10.0
SILENT_S = 60.0
"""After so long without a record that is due, a reader gives up."""
_POLL_MS = 500


@dataclass(frozen=True)
class Kafka:
    """How a cluster is reached: over TLS 1.3 that verifies its brokers.

    Attributes:
        brokers: host, by the name in its certificate, and port.
        authority: certificate (PEM) that the brokers' chain to; None: the system's authorities.
        user: of the cluster; None: it wants none.
        password: of the user.
        mechanism: by which the user logs in: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    """

    brokers: Sequence[tuple[str, int]]
    authority: bytes | None = None
    user: str | None = None
    password: str | None = None
    mechanism: str = "SCRAM-SHA-512"

    def settings(self) -> dict[str, Any]:
        """Return what kafka-python's clients are told.

        Raises:
            Misuse: `authority` is no certificate.
            OSError: no broker answers, or shows that it is the one: the clients would try for long, and not say why.
        """
        tls = verified_tls(self.authority, "Kafka")
        self._require_one(tls)
        user = {
            "sasl_mechanism": self.mechanism,
            "sasl_plain_username": self.user,
            "sasl_plain_password": self.password,
        }
        return {
            "bootstrap_servers": [f"{host}:{port}" for host, port in self.brokers],
            "security_protocol": "SSL" if self.user is None else "SASL_SSL",
            "ssl_context": tls,
            **({} if self.user is None else user),
        }

    def _require_one(self, tls: ssl.SSLContext) -> None:
        failed: OSError | None = None
        for host, port in self.brokers:
            try:
                with (
                    socket.create_connection((host, port), CONNECT_S) as plain,
                    tls.wrap_socket(plain, server_hostname=host),
                ):
                    return
            except OSError as error:
                failed = error
        if failed is not None:
            raise failed


class TopicWriter:
    """Appends rows to a topic as one producer; a context manager.

    Attributes:
        appended: how many rows the topic is known to have.

    Args:
        kafka: the cluster.
        topic: name of the topic.
        sealer: of this topic.
    """

    def __init__(self, kafka: Kafka, topic: str, sealer: RecordSealer) -> None:
        self._topic, self._sealer = topic, sealer
        self._producer = KafkaProducer(acks="all", **kafka.settings())
        self.appended = 0

    def __enter__(self) -> TopicWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close()

    def send(self, rows: Iterable[bytes]) -> None:
        """Append rows, and return when the topic has them.

        Raises:
            kafka.errors.KafkaError: it is not known of some whether the topic has them.
            Misuse: a row of more than 256 KiB.
        """
        waiting = [self._producer.send(self._topic, self._sealer.seal(row)) for row in rows]
        self._producer.flush()
        for each in waiting:
            each.get(timeout=0)
            self.appended += 1


class TopicReader:
    """Reads what a topic holds now, each record once, partition by partition as the brokers have them.

    Attributes:
        repeated: records that were there again, and left out.

    Args:
        kafka: the cluster.
        topic: name of the topic.
        opener: of this topic.
    """

    def __init__(self, kafka: Kafka, topic: str, opener: RecordOpener) -> None:
        self._kafka, self._topic, self._opener = kafka, topic, opener
        self._seen: dict[bytes, set[int]] = {}
        self.repeated = 0

    @property
    def missing(self) -> int:
        """Return how many records were not there that producers made before one that was."""
        return sum(max(numbers) - len(numbers) for numbers in self._seen.values())

    def __iter__(self) -> Iterator[bytes]:
        """Yield the rows.

        Raises:
            NotEncrypted, InvalidFormat, UnknownKey, RevokedKey, Tampered: as `RecordOpener.open_alone`.
            Unavailable: there is no such topic, or the brokers do not give what they say there is.
        """
        for value in self._values():
            if value is None:
                raise NotEncrypted("a record of the topic has no value")
            record = self._opener.open_alone(value)
            numbers = self._seen.setdefault(record.producer, set())
            if record.number in numbers:
                self.repeated += 1
                continue
            numbers.add(record.number)
            yield record.row

    def _values(self) -> Iterator[bytes | None]:
        consumer = KafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            isolation_level="read_committed",
            **self._kafka.settings(),
        )
        try:
            numbers = consumer.partitions_for_topic(self._topic)
            if not numbers:
                raise Unavailable(f"the brokers know no topic {self._topic}")
            partitions = [TopicPartition(self._topic, number) for number in sorted(numbers)]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends, heard = consumer.end_offsets(partitions), time.monotonic()
            while any(consumer.position(each) < ends[each] for each in partitions):
                for partition, records in consumer.poll(timeout_ms=_POLL_MS).items():
                    heard = time.monotonic()
                    yield from (record.value for record in records if record.offset < ends[partition])
                if time.monotonic() - heard > SILENT_S:
                    raise Unavailable("the brokers do not give the records that they say there are")
        finally:
            consumer.close()
