"""Topics of a real broker, not trusted, as sources and sinks of Flink's own Kafka connector, a jar of the program.

Flink starts slowly, so one run does it all: the program goes from one part to the next and says what came of each.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from tests.kafka_broker import JARS, Tansu, kafka_broker

from confide.broker.listing_signing import sign_listing
from confide.data.folders import encrypt_files
from confide.data.records import RecordOpener, RecordSealer
from confide.data.topics import TopicReader, TopicWriter
from confide.enclave.image import Limits
from confide.enclave.profile import ImageProfile
from confide.flink.image_spec import image_profile

pytestmark = [
    pytest.mark.flink,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="Flink has wheels for Python 3.11 and 3.12"),
]

MARK = "NEEDLE-4711"
PASSWORD = "a-password-of-the-topics"
ROWS = [{"patient": f"{MARK}-{n % 3}", "rate": 40 + n} for n in range(700)]
PROGRAM = """
# /// script
# [tool.confide]
# args = ["[0-9]+", "[0-9]+", "[0-9]+", "[0-9]+"]
# ///
import re, socket, sys

from pyflink.common import Configuration, WatermarkStrategy
from pyflink.common.serialization import SimpleStringSchema
from pyflink.common.typeinfo import Types
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer, KafkaRecordSerializationSchema, KafkaSink, KafkaSource
)
from pyflink.table import EnvironmentSettings, TableEnvironment

port, other_port, stray_port, private_port = sys.argv[1:5]
PULSES = "patient STRING, rate INT"


def environment(**settings):
    configuration = Configuration()
    for name, value in settings.items():
        configuration.set_string(name.replace("__", "-").replace("_", "."), value)
    configuration.set_string("parallelism.default", "2")
    return TableEnvironment.create(
        EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration).build()
    )


def declare(tables, topic, columns=PULSES, *, name=None, to=None, **options):
    given = {
        "connector": "kafka",
        "topic": topic,
        "properties.bootstrap.servers": f"localhost:{to or port}",
        "properties.security.protocol": "SSL",
        "properties.ssl.enabled.protocols": "TLSv1.3",
        "properties.ssl.truststore.type": "PEM",
        "properties.ssl.truststore.location": "/app/ca.pem",
        "scan.startup.mode": "earliest-offset",
        "scan.bounded.mode": "latest-offset",
        "properties.batch.size": "0",  # else the tests' broker says that a batch ends after its first record
        "value.format": "confide-sealed",
        "value.confide-sealed.format": "json",
    }
    given |= {key.replace("__", "-").replace("_", "."): value for key, value in options.items()}
    said = ", ".join(f"'{key}' = '{value}'" for key, value in given.items() if value is not None)
    tables.execute_sql(f"CREATE TABLE `{name or topic}` ({columns}) WITH ({said})")


def rows(tables, query):
    with tables.execute_sql(query).collect() as found:
        return sorted(tuple(row) for row in found)


def read(topic="pulses", columns=PULSES, **options):
    tables = environment()
    declare(tables, topic, columns, name="t", **options)
    return len(rows(tables, "SELECT * FROM t"))


def write(topic="highest", columns=PULSES, values="VALUES ('x', 1)", **options):
    tables = environment()
    declare(tables, topic, columns, name="t", **options)
    tables.execute_sql(f"INSERT INTO t {values}").wait()


def both():
    tables = environment()
    declare(tables, "pulses")
    declare(tables, "highest")
    tables.execute_sql("INSERT INTO highest SELECT patient, rate FROM pulses WHERE rate >= 700").wait()
    found = rows(tables, "SELECT * FROM highest")
    return len(found), max(rate for _, rate in found)


def exactly_once():
    tables = environment(
        execution_checkpointing_interval="500 ms", execution_checkpointing_dir="file:///work/state/once"
    )
    declare(tables, "pulses")
    exactly = {"sink.delivery-guarantee": "exactly-once", "sink.transactional-id-prefix": "job"}
    declare(tables, "once", properties_isolation_level="read_committed", **exactly)
    tables.execute_sql("INSERT INTO once SELECT patient, rate FROM pulses").wait()
    return len(rows(tables, "SELECT * FROM once"))


SEEN = (
    f"{PULSES}, producer STRING METADATA FROM 'value.producer' VIRTUAL, "
    "number BIGINT METADATA FROM 'value.number' VIRTUAL"
)


def each_once():
    tables = environment()
    declare(tables, "repeated", f"{SEEN}, moment AS PROCTIME()", name="t")
    said = rows(tables, "SELECT number FROM t")
    kept = rows(
        tables,
        "SELECT number, rate FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY producer, number ORDER BY moment) AS nth "
        "FROM t) WHERE nth = 1",
    )
    return [number for (number,) in said], kept


def format_options():
    return read("csv", value_confide__sealed_format="csv", **{"value.confide-sealed.csv.field-delimiter": ";"})


def elsewhere():
    said = []
    for name, number in (("127.0.0.1", int(other_port) + 1), ("localhost", int(other_port) + 1)):
        with socket.socket() as direct:
            direct.settimeout(5)
            said.append(direct.connect_ex((name, number)) != 0)
    return said


def stream_source():
    env = StreamExecutionEnvironment.get_execution_environment()
    source = (
        KafkaSource.builder().set_bootstrap_servers(f"localhost:{port}").set_topics("pulses").set_group_id("g")
        .set_starting_offsets(KafkaOffsetsInitializer.earliest()).set_value_only_deserializer(SimpleStringSchema()).build()
    )
    env.from_source(source, WatermarkStrategy.no_watermarks(), "s").map(lambda text: text, Types.STRING()).print()
    env.execute()


def stream_sink():
    env = StreamExecutionEnvironment.get_execution_environment()
    values = KafkaRecordSerializationSchema.builder().set_topic("highest")
    values = values.set_value_serialization_schema(SimpleStringSchema())
    sink = KafkaSink.builder().set_bootstrap_servers(f"localhost:{port}").set_record_serializer(values.build()).build()
    env.from_collection(["a"], Types.STRING()).sink_to(sink)
    env.execute()


PLAIN = {"value.format": None, "value.confide-sealed.format": None, "format": "json"}
UPSERTS = {
    "columns": f"{PULSES}, PRIMARY KEY (patient) NOT ENFORCED",
    "values": "VALUES ('x', 1) ON CONFLICT DO DEDUPLICATE",
    "connector": "upsert-kafka",
    "key.format": "json",
    "scan.startup.mode": None,
    "scan.bounded.mode": None,
}
IN_CLEAR = {"value.format": "json", "value.confide-sealed.format": None}
TRUST = "properties.ssl.truststore.location"
SASL = {"properties.security.protocol": "SASL_SSL", "properties.sasl.mechanism": "PLAIN"}
LOGIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="a" password="b";'


def login(file="secrets/kafka/password"):
    module = f'confide.flink.kafka.SealedLogin required username="flink" password-file="{file}";'
    return read("wards", to=private_port, **SASL, **{"properties.sasl.jaas.config": module})


def to_files():
    tables = environment()
    tables.execute_sql(
        f"CREATE TABLE t ({PULSES}) WITH ('connector' = 'filesystem', 'path' = 'out', 'format' = 'confide-sealed', "
        "'confide-sealed.format' = 'json')"
    )
    tables.execute_sql("INSERT INTO t VALUES ('x', 1)").wait()


PARTS = {
    "count": read,
    "both": both,
    "exactly once": exactly_once,
    "each once": each_once,
    "format options": format_options,
    "empty": lambda: read("empty"),
    "elsewhere": elsewhere,
    "login": login,
    "wrong password": lambda: login("secrets/kafka/wrong"),
    "no such password": lambda: login("secrets/others/password"),
    **{name: lambda name=name: read(name) for name in ("changed", "swapped", "plain", "hollow")},
    "other authority": lambda: read(**{TRUST: "/app/other.pem"}),
    "other name": lambda: read("misnamed", to=other_port, **{TRUST: "/app/other.pem"}),
    "source in clear": lambda: read(**PLAIN),
    "sink in clear": lambda: write(**PLAIN),
    "keys read": lambda: read(**{"key.format": "raw", "key.fields": "patient", "value.fields-include": "EXCEPT_KEY"}),
    "keys written": lambda: write(**{"key.format": "raw", "key.fields": "patient"}),
    "timestamps read": lambda: read(columns=f"{PULSES}, moment TIMESTAMP(3) METADATA FROM 'timestamp' VIRTUAL"),
    "headers written": lambda: write(
        columns=f"{PULSES}, heads MAP<STRING, BYTES> METADATA FROM 'headers'", values="VALUES ('x', 1, MAP['a', X'00'])"
    ),
    "pattern": lambda: read(topic=None, **{"topic-pattern": "pul.*"}),
    "unsealed pattern": lambda: read(topic=None, **{"topic-pattern": "pul.*"}, **PLAIN),
    "two topics": lambda: read("pulses;empty"),
    "upserts": lambda: write(**UPSERTS),
    "unsealed upserts": lambda: write(**UPSERTS, **IN_CLEAR),
    "kept upserts": lambda: write(
        **UPSERTS, **IN_CLEAR, **{"sink.buffer-flush.max-rows": "9", "sink.buffer-flush.interval": "1 s"}
    ),
    "partitioner": lambda: write(**{"sink.partitioner": "Sorts"}),
    "no TLS": lambda: read(properties_security_protocol="PLAINTEXT"),
    "no word of TLS": lambda: read(properties_security_protocol=None),
    "older TLS": lambda: read(**{"properties.ssl.enabled.protocols": "TLSv1.2,TLSv1.3"}),
    "any name": lambda: read(**{"properties.ssl.endpoint.identification.algorithm": ""}),
    "authority of the storage": lambda: read(**{TRUST: "/work/ca.pem"}),
    "authority by a detour": lambda: read(**{TRUST: "/app/../work/ca.pem"}),
    "interceptor": lambda: write(**{"properties.interceptor.classes": "a.B"}),
    "password in clear": lambda: read(**SASL, **{"properties.sasl.jaas.config": LOGIN}),
    "no password": lambda: read(**SASL),
    "not granted": lambda: read("others"),
    "only to read": lambda: write("pulses"),
    "other servers": lambda: read(to=int(other_port) + 1),
    "stray": lambda: read("stray", to=stray_port),
    "files": to_files,
    "added jars": lambda: rows(environment(pipeline_jars="file:///app/jars/kafka-clients.jar"), "SELECT 1"),
    "stream source": stream_source,
    "stream sink": stream_sink,
}


def attempt(name, part):
    try:
        print("TAKEN", name, part(), flush=True)
    except Exception as error:
        from confide.jvm.explanation import explain

        causes = re.findall("Caused by: (.*)", str(error))
        text = explain(error) or " ".join([*str(error).splitlines()[:3], *causes])
        print("SAID", name, text.replace(chr(10), " ")[-1500:], flush=True)


for name, each in PARTS.items():
    attempt(name, each)
"""


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with kafka_broker(tmp_path_factory.mktemp("kafka") / "broker") as broker:
        yield broker


@pytest.fixture(scope="module")
def misnamed(broker, tmp_path_factory):
    """A broker whose certificate is for another name."""
    other = Tansu(tmp_path_factory.mktemp("kafka") / "misnamed", name="elsewhere.example")
    yield other
    other.kill()


@pytest.fixture(scope="module")
def stray(broker, tmp_path_factory):
    """A broker that says that it is elsewhere."""
    other = Tansu(tmp_path_factory.mktemp("kafka") / "stray", advertised="kafka-3.clinic.example")
    yield other
    other.kill()


@pytest.fixture(scope="module")
def private(broker, tmp_path_factory):
    """A broker that lets one user in."""
    other = Tansu(tmp_path_factory.mktemp("kafka") / "private", login=("flink", PASSWORD))
    yield other
    other.kill()


SORTS = """
public final class Sorts implements org.apache.flink.connector.kafka.sink.KafkaPartitioner<Object> {
  @Override
  public int partition(Object row, byte[] key, byte[] value, String topic, int[] partitions) {
    return partitions[Math.floorMod(row.hashCode(), partitions.length)];
  }
}
"""


@pytest.fixture(scope="module")
def sorts(broker, tmp_path_factory) -> Path:
    """A jar with a partitioner that looks at rows."""
    folder = tmp_path_factory.mktemp("sorts")
    (folder / "Sorts.java").write_text(SORTS)
    argv = ["javac", "--release", "17", "-cp", ":".join(map(str, JARS)), "-d", folder, folder / "Sorts.java"]
    subprocess.run(argv, check=True, timeout=120)
    with zipfile.ZipFile(folder / "sorts.jar", "w") as jar:
        jar.write(folder / "Sorts.class", "Sorts.class")
    return folder / "sorts.jar"


def make(broker, *topics):
    admin = KafkaAdminClient(**broker.kafka.settings())
    admin.create_topics([NewTopic(topic, 2, 1) for topic in topics])
    admin.close()


def append(broker, topic, *values):
    producer = KafkaProducer(acks="all", **broker.kafka.settings())
    for value in values:
        producer.send(topic, value, key=b"k" if value is None else None)
        producer.flush()
    producer.close()


def values(broker, topic):
    """Return what the broker holds of a topic, as it lies there."""
    consumer = KafkaConsumer(group_id=None, enable_auto_commit=False, **broker.kafka.settings())
    partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    ends, found = consumer.end_offsets(partitions), []
    while any(consumer.position(each) < ends[each] for each in partitions):
        for records in consumer.poll(timeout_ms=500).values():
            found += records
    consumer.close()
    return found


READ = ("pulses", "repeated", "csv", "empty", "changed", "swapped", "plain", "hollow")
WRITTEN = ("highest", "once")


def fill(broker, owner):
    """Put in what the owner's own programs would, and what an operator makes of it."""
    make(broker, *READ, *WRITTEN)
    with TopicWriter(broker.kafka, "pulses", RecordSealer(owner.keyset, owner.key, "pulses")) as writer:
        for row in ROWS:
            writer.send([json.dumps(row).encode()])
    row = json.dumps(ROWS[0]).encode()

    def sealed(topic, plain=row):
        sealer = RecordSealer(owner.keyset, owner.key, topic)
        return [sealer.seal(plain) for _ in range(3)]

    first, second, third = sealed("changed")
    append(broker, "changed", first, second[:-1] + bytes([second[-1] ^ 1]), third)
    first, second, third = sealed("repeated")
    append(broker, "repeated", third, second, second, first, second)
    append(broker, "csv", *sealed("csv", b"x;1"))
    append(broker, "swapped", *sealed("changed"))
    append(broker, "plain", b'{"patient": "x", "rate": 1}')
    append(broker, "hollow", None)


@pytest.fixture(scope="module")
def clinic(site, new_owner, cache, broker, misnamed, stray, private, sorts, tmp_path_factory):
    owner = new_owner("clinic", site.broker("local"), site.root)
    authorities = b"".join(each.authority.certificate_pem for each in (broker, stray, private))
    secrets = tmp_path_factory.mktemp("secrets")
    (secrets / "password").write_text(PASSWORD + "\n")
    (secrets / "wrong").write_text("another\n")
    (site.data / "secrets").mkdir()
    target = site.data / "secrets/kafka"
    listing = encrypt_files(secrets, target, owner.keyset, owner.key, location="secrets/kafka")
    owner.store.commit_listing(listing, sign_listing(listing, owner._signing_key, owner.name), 0)
    (site.root / "app/ca.pem").write_bytes(authorities)
    (site.data / "ca.pem").write_bytes(broker.authority.certificate_pem)
    (site.root / "app/other.pem").write_bytes(misnamed.authority.certificate_pem)
    profile = image_profile(cache)
    small = ImageProfile(**{**vars(profile), "limits": Limits(memory_mib=1536, scratch_mib=256, cores=2)})
    image = site.build(PROGRAM, small, includes=(Path("ca.pem"), Path("other.pem")), jars=(*JARS, sorts))
    fill(broker, owner)
    make(private, "wards")
    append(
        private, "wards", RecordSealer(owner.keyset, owner.key, "wards").seal(json.dumps(ROWS[0]).encode())
    )
    streams = [(broker.location(topic), "read") for topic in READ]
    streams += [(broker.location(topic), "write") for topic in WRITTEN]
    others = {misnamed: "misnamed", stray: "stray", private: "wards"}
    streams += [(other.location(topic), "read") for other, topic in others.items()]
    owner.allow(image, logs="clinic/data", files=["state"], read_files=["secrets/kafka"], streams=streams)
    return site, owner


@pytest.fixture(scope="module")
def log(clinic, broker, misnamed, stray, private):
    site, owner = clinic
    code = site.run(*(str(each.port) for each in (broker, misnamed, stray, private)))
    log = site.log(owner)
    assert code == 0, log[-6000:]
    return log


def line(log: str, part: str) -> str:
    found = [each for each in log.splitlines() if re.match(f"(TAKEN|SAID) {part} ", each)]
    assert len(found) == 1, log[-6000:]
    return found[0]


def test_rows_that_python_sealed_are_read(log):
    assert line(log, "count") == f"TAKEN count {len(ROWS)}"
    assert line(log, "empty") == "TAKEN empty 0"


def test_rows_that_flink_sealed_are_read_by_flink_and_by_python(clinic, broker, log):
    _, owner = clinic
    high = [row for row in ROWS if row["rate"] >= 700]
    assert line(log, "both") == f"TAKEN both ({len(high)}, {high[-1]['rate']})"
    reader = TopicReader(broker.kafka, "highest", RecordOpener(owner.keyset, owner.key, "highest"))
    assert sorted((json.loads(row) for row in reader), key=lambda row: row["rate"]) == high
    assert (reader.repeated, reader.missing) == (0, 0)


def test_a_job_with_checkpoints_writes_in_transactions(clinic, broker, log):
    _, owner = clinic
    assert line(log, "exactly once") == f"TAKEN exactly once {len(ROWS)}"
    reader = TopicReader(broker.kafka, "once", RecordOpener(owner.keyset, owner.key, "once"))
    assert sorted((json.loads(row) for row in reader), key=lambda row: row["rate"]) == ROWS


def test_the_password_is_a_sealed_file(private, log):
    assert line(log, "login") == "TAKEN login 1"
    assert PASSWORD.encode() in private.end.bytes
    assert PASSWORD.encode() not in private.wire.bytes


def test_columns_of_producer_and_number_show_what_is_repeated(log):
    there, kept = [1, 2, 2, 2, 3], [(1, 40), (2, 40), (3, 40)]
    assert line(log, "each once") == f"TAKEN each once ({there}, {kept})"


def test_the_format_of_a_row_has_its_options(log):
    assert line(log, "format options") == "TAKEN format options 3"


def test_the_sandbox_reaches_granted_brokers_and_nothing_else(log):
    assert line(log, "elsewhere") == "TAKEN elsewhere [True, True]"


def test_neither_the_broker_nor_the_network_sees_a_row(broker, log):
    held = [record for topic in ("pulses", *WRITTEN) for record in values(broker, topic)]
    assert all(
        record.value.startswith(b"CONFIDR") and not record.key and not record.headers for record in held
    )
    assert len(held) >= 2 * len(ROWS)
    assert MARK.encode() not in broker.end.bytes
    assert b"CONFIDR" in broker.end.bytes  # what the broker itself gets is seen here
    for seen in (MARK.encode(), b"CONFIDR", b"pulses"):
        assert seen not in broker.wire.bytes


def test_what_the_control_would_see(broker):
    append(broker, "canary", MARK.encode())
    assert MARK.encode() in broker.end.bytes
    assert MARK.encode() not in broker.wire.bytes


FORMAT = "LaunchRefused: the format confide-sealed is for a table with 'connector' = 'kafka' and one 'topic'"
UNSEALED = "has values that are not sealed: give its table 'value.format' = 'confide-sealed'"


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ("changed", "Tampered: sealed record does not authenticate"),
        ("swapped", "Tampered: wrapped key does not authenticate"),
        ("plain", "NotEncrypted: not a sealed record"),
        ("hollow", "NotEncrypted: a record without a value, in kafka://.*/hollow"),
        ("other authority", "SslAuthenticationException: SSL handshake failed .* Path does not chain"),
        (
            "other name",
            "SslAuthenticationException: SSL handshake failed .* No .*name matching localhost found",
        ),
        ("source in clear", f"LaunchRefused: the Kafka source .* {UNSEALED}"),
        ("sink in clear", f"LaunchRefused: the Kafka sink .* {UNSEALED}"),
        ("stream source", f"LaunchRefused: the Kafka source .* {UNSEALED}"),
        ("stream sink", f"LaunchRefused: the Kafka sink .* {UNSEALED}"),
        ("keys read", "LaunchRefused: the Kafka source .* has a format for keys"),
        ("keys written", "LaunchRefused: the Kafka sink .* has a format for keys"),
        ("timestamps read", "LaunchRefused: the Kafka source .* has columns of metadata"),
        ("headers written", "LaunchRefused: the Kafka sink .* writes columns of metadata"),
        ("pattern", FORMAT),
        ("unsealed pattern", f"LaunchRefused: the Kafka source .* {UNSEALED}"),
        ("two topics", FORMAT),
        ("upserts", FORMAT),
        ("unsealed upserts", f"LaunchRefused: the Kafka sink .* {UNSEALED}"),
        ("kept upserts", "LaunchRefused: the operator .* has a org.apache.flink.*ReducingUpsertSink"),
        ("partitioner", "LaunchRefused: the Kafka sink .* has a partitioner of its own"),
        (
            "no TLS",
            "LaunchRefused: .* needs 'properties.security.protocol' = 'SSL' or 'SASL_SSL', and has another",
        ),
        (
            "no word of TLS",
            "LaunchRefused: .* needs 'properties.security.protocol' = 'SSL' or 'SASL_SSL': brokers",
        ),
        ("older TLS", "LaunchRefused: .* needs 'properties.ssl.enabled.protocols' = 'TLSv1.3'"),
        (
            "any name",
            "LaunchRefused: .* 'properties.ssl.endpoint.identification.algorithm' that would weaken",
        ),
        (
            "authority of the storage",
            "LaunchRefused: .* needs 'properties.ssl.truststore.location' = '/app/...'",
        ),
        (
            "authority by a detour",
            "LaunchRefused: .* needs 'properties.ssl.truststore.location' = '/app/...'",
        ),
        ("interceptor", "LaunchRefused: .* has 'properties.interceptor.classes', which is not among"),
        ("password in clear", "LaunchRefused: .* a password in a program is no secret"),
        ("no password", "LaunchRefused: .* logs in by SASL and has no 'properties.sasl.jaas.config'"),
        ("not granted", "NoGrant: no grant for the stream kafka://.*/others"),
        ("only to read", "NoGrant: the grant of kafka://.*/pulses is to read, not to write"),
        ("wrong password", "SaslAuthenticationException"),
        ("no such password", "NoGrant: no grant for secrets/others/password"),
        ("other servers", "NoGrant: no grant for the stream kafka://.*/pulses"),
        (
            "stray",
            "LaunchRefused: the Kafka at .* has brokers that no policy grants.*: kafka-3.clinic.example:[0-9]+",
        ),
        ("files", FORMAT),
        ("added jars", "LaunchRefused: pipeline.jars=.* give jars with --jars"),
    ],
)
def test_refusals(log, part, reason):
    assert re.match(f"SAID {part} .*{reason}", line(log, part))
