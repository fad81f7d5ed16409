"""PyFlink programs under `confide run`: the examples' results, what is refused, what lies on storage afterwards.

Flink starts slowly, so one run does it all: the program goes from one part to the next and says what came of each.
"""

from __future__ import annotations

import datetime
import random
import re
import sys
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from confide.broker.listing_signing import sign_listing
from confide.data.folders import decrypt_files, encrypt_files
from confide.enclave.image import Limits
from confide.enclave.profile import ImageProfile
from confide.flink.image_spec import image_profile

pytestmark = [
    pytest.mark.flink,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="Flink has wheels for Python 3.11 and 3.12"),
]

EXAMPLES = Path(__file__).parents[3] / "examples"
MARK = "NEEDLE-4711"
# Whole milliseconds: PyFlink hands no more of a collected timestamp to the program.
PATIENTS = pa.table(
    {
        "id": [1, 2, None],
        "born": [datetime.date(1950, 1, 2), None, datetime.date(1999, 12, 31)],
        "seen": [datetime.datetime(2026, 1, 2, 3, 4, 5, 678_000), datetime.datetime(1969, 12, 31, 23), None],
        "weight": [70.5, None, -0.25],
        "well": [True, False, None],
        "paid": [Decimal("12.34"), Decimal("-0.01"), None],
        "name": [f"{MARK}-a", None, f"{MARK}-b"],
    }
).cast(
    pa.schema(
        [
            ("id", pa.int64()),
            ("born", pa.date32()),
            ("seen", pa.timestamp("us")),
            ("weight", pa.float64()),
            ("well", pa.bool_()),
            ("paid", pa.decimal128(9, 2)),
            ("name", pa.string()),
        ]
    )
)
PROGRAM = '''
import re, socket, sys, time
from pathlib import Path

import stream, table
from pyflink.common import Configuration, Encoder, Types, WatermarkStrategy
from pyflink.common import Time
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import KeyedBroadcastProcessFunction, KeyedProcessFunction, MapFunction, OutputTag
from pyflink.datastream import ProcessFunction, ProcessWindowFunction, StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileCompactor, FileCompactStrategy, FileSink
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.datastream.state import ListStateDescriptor, MapStateDescriptor, ValueStateDescriptor
from pyflink.datastream.window import EventTimeSessionWindows
from pyflink.table import DataTypes, EnvironmentSettings, StreamTableEnvironment, TableEnvironment
from pyflink.table.expressions import col, lit
from pyflink.table.udf import AggregateFunction, udaf, udf, udtf
from pyflink.table.window import Tumble


def environment(**settings):
    configuration = Configuration()
    for name, value in settings.items():
        configuration.set_string(name.replace("__", "-").replace("_", "."), value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    env.set_parallelism(1)
    return env


def letters(env):
    return env.from_collection(["a", "b"], Types.STRING())


def write(env, location):
    sink = FileSink.for_row_format(location, Encoder.simple_string_encoder()).build()
    letters(env).map(lambda text: text * 2, Types.STRING()).sink_to(sink)
    env.execute()


def read(path):
    tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    tables.execute_sql(
        f"CREATE TABLE t (line STRING) WITH ('connector' = 'filesystem', 'path' = '{path}', 'format' = 'raw')"
    )
    with tables.execute_sql("SELECT COUNT(*) FROM t").collect() as rows:
        return [tuple(row) for row in rows]


def patients(columns, selected="*"):
    tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    tables.execute_sql(
        f"CREATE TABLE t ({columns}) WITH ('connector' = 'filesystem', 'path' = 'data/patients', 'format' = 'parquet')"
    )
    with tables.execute_sql(f"SELECT {selected} FROM t").collect() as rows:
        return sorted(str(tuple(row)) for row in rows)


class FailsOnce(MapFunction):
    """Fails after the first checkpoint that has seen half the elements; a file in scratch remembers that it did."""

    def map(self, value):
        time.sleep(0.01)
        failed = Path("/scratch/failed")
        if value == 300 and not failed.exists():
            time.sleep(1.5)
            failed.touch()
            raise RuntimeError("as a machine fails")
        return str(value)


def exactly_once():
    env = environment(
        execution_checkpointing_interval="200 ms",
        execution_checkpointing_dir="file:///work/state/once",
        restart__strategy_type="fixed-delay",
        restart__strategy_fixed__delay_delay="100 ms",
    )
    sink = FileSink.for_row_format("out/once", Encoder.simple_string_encoder()).build()
    numbers = NumberSequenceSource(0, 399)
    source = env.from_source(numbers, WatermarkStrategy.no_watermarks(), "numbers", Types.LONG())
    source.map(FailsOnce(), Types.STRING()).sink_to(sink)
    env.execute()
    return Path("/scratch/failed").exists()


def recovered():
    """A file under way, lost with its task, taken up again from what the checkpoint kept, and committed twice."""
    from pyflink.java_gateway import get_gateway

    jvm = get_gateway().jvm
    fs = jvm.org.apache.flink.core.fs.FileSystem.get(jvm.java.net.URI("file:///work"))
    path = jvm.org.apache.flink.core.fs.Path("file:///work/out/recovered/part-0")
    writer = fs.createRecoverableWriter()
    out = writer.open(path)
    out.write(bytearray(b"kept\\n"))
    kept = out.persist()
    out.write(bytearray(b"lost\\n"))
    out.close()
    writer = fs.createRecoverableWriter()
    serializer = writer.getResumeRecoverableSerializer()
    out = writer.recover(serializer.deserialize(1, serializer.serialize(kept)))
    out.write(bytearray(b"written\\n"))
    pending = out.closeForCommit().getRecoverable()
    for _ in range(2):
        writer.recoverForCommit(pending).commitAfterRecovery()


def unfinished():
    """A file under way of which a part is not there, and another sealed file of the location in its place."""
    from pyflink.java_gateway import get_gateway

    jvm = get_gateway().jvm
    kind = jvm.org.apache.flink.core.fs.Path
    fs = jvm.org.apache.flink.core.fs.FileSystem.get(jvm.java.net.URI("file:///work"))
    target = kind("file:///work/state/unfinished/part-0")
    writer = fs.createRecoverableWriter()
    out = writer.open(target)
    out.write(bytearray(b"one\\n"))
    out.persist()
    out.write(bytearray(b"two\\n"))
    pending = out.closeForCommit().getRecoverable()
    state = bytes(writer.getCommitRecoverableSerializer().serialize(pending))
    first, second = (
        kind(path.decode()) for path in re.findall(rb"file:[!-~]*[.]inprogress[.][0-9a-f-]{36}", state)
    )
    fs.delete(first, False)
    other = fs.create(target, jvm.org.apache.flink.core.fs.FileSystem.WriteMode.OVERWRITE)
    other.write(bytearray(b"other\\n"))
    other.close()
    said = []
    try:
        writer.recoverForCommit(pending).commitAfterRecovery()
    except Exception as error:
        said += re.findall("FileMissing: never committed", str(error))[:1]
    return said, [fs.exists(each) for each in (first, second, target)]


def schemes():
    """Every file system that Hadoop brings along, and one that is none, asked for as Flink asks."""
    from pyflink.java_gateway import get_gateway

    jvm = get_gateway().jvm
    kind = jvm.java.lang.Class.forName("org.apache.hadoop.fs.FileSystem")
    known = jvm.java.util.ServiceLoader.load(kind, kind.getClassLoader()).iterator()
    found = {"mine"}
    while known.hasNext():
        try:
            found.add(known.next().getScheme())
        except Exception:
            pass  # it has none of its own
    said = {}
    for scheme in sorted(found - {"file"}):
        try:
            opened = jvm.org.apache.flink.core.fs.FileSystem.get(jvm.java.net.URI(f"{scheme}://work/"))
            said[scheme] = opened.getClass().getName()
        except Exception as error:
            said[scheme] = f"no storage of scheme {scheme} is set up" in str(error)
    return [said[scheme] for scheme in ("har", "viewfs", "hdfs", "http")], len(said) > 5


def compacted():
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    tables.execute_sql(
        "CREATE TABLE t (n BIGINT) WITH ('connector' = 'filesystem', 'path' = 'out/once', 'format' = 'csv',"
        " 'auto-compaction' = 'true')"
    )
    tables.execute_sql("INSERT INTO t VALUES (1)").wait()


def compacting_sink():
    env = environment()
    often = FileCompactStrategy.builder().enable_compaction_on_checkpoint(1).build()
    sink = FileSink.for_row_format("out/once", Encoder.simple_string_encoder())
    sink = sink.enable_compact(often, FileCompactor.concat_file_compactor()).build()
    env.from_collection(["1"], Types.STRING()).sink_to(sink).uid("compacts")
    env.execute()


def aggregate():
    class Sum(AggregateFunction):
        def create_accumulator(self):
            return [0]

        def get_value(self, accumulator):
            return accumulator[0]

        def accumulate(self, accumulator, value):
            accumulator[0] += value

    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    total = udaf(Sum(), result_type=DataTypes.BIGINT(), accumulator_type=DataTypes.ARRAY(DataTypes.BIGINT()))
    tables.create_temporary_function("total", total)
    tables.create_temporary_view("t", tables.from_elements([(1,), (2,)], ["n"]))
    return list(tables.execute_sql("SELECT total(n) FROM t").collect())


class Remembers(KeyedProcessFunction):
    """Three kinds of keyed state; says of the last element whether RocksDB's files lie in scratch."""

    def open(self, context):
        self.count = context.get_state(ValueStateDescriptor("count", Types.LONG()))
        self.all = context.get_list_state(ListStateDescriptor("all", Types.LONG()))
        self.seen = context.get_map_state(MapStateDescriptor("seen", Types.LONG(), Types.STRING()))

    def process_element(self, value, context):
        count = (self.count.value() or 0) + 1
        self.count.update(count)
        self.all.add(value)
        self.seen.put(value % 5, str(value))
        yield f"{value} {count} {sum(self.all.get())} {sorted(self.seen.items())}"
        time.sleep(0.002)
        if value == 699:
            yield f"RocksDB {any(Path('/scratch/tmp').rglob('db/CURRENT'))}"


def state(backend):
    env = environment(
        state_backend_type=backend,
        execution_checkpointing_incremental="true",
        execution_checkpointing_interval="100 ms",
        execution_checkpointing_dir=f"file:///work/state/{backend}",
    )
    numbers = env.from_source(NumberSequenceSource(0, 699), WatermarkStrategy.no_watermarks(), "n", Types.LONG())
    keyed = numbers.key_by(lambda value: value % 7, Types.LONG())
    return sorted(keyed.process(Remembers(), Types.STRING()).execute_and_collect())


def backends():
    found = {backend: state(backend) for backend in ("hashmap", "rocksdb")}
    where = {backend: [line for line in lines if line.startswith("RocksDB")] for backend, lines in found.items()}
    rest = [[line for line in lines if line[0].isdigit()] for lines in found.values()]
    return len(rest[0]), rest[0] == rest[1], where


SEEN = [("a", 1, 5), ("b", 2, 7), ("a", 3, 1), ("a", 90, 2), ("b", 4, 3), ("a", 91, 8)]  # key, second, number
SEEN_TYPE = Types.TUPLE([Types.STRING(), Types.LONG(), Types.LONG()])


class AtSecond(TimestampAssigner):
    def extract_timestamp(self, value, record_timestamp):
        return value[1] * 1000


def seen(env):
    watermarks = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(AtSecond())
    rows = env.from_collection(sorted(SEEN, key=lambda row: row[1]), SEEN_TYPE)
    return rows.assign_timestamps_and_watermarks(watermarks)


def session_windows():
    class Summed(ProcessWindowFunction):
        def process(self, key, context, elements):
            yield f"{key} {context.window().start // 1000} {sum(row[2] for row in elements)}"

    keyed = seen(environment()).key_by(lambda row: row[0], Types.STRING())
    windows = keyed.window(EventTimeSessionWindows.with_gap(Time.seconds(10)))
    return sorted(windows.process(Summed(), Types.STRING()).execute_and_collect())


def timers():
    class Late(KeyedProcessFunction):
        def process_element(self, value, context):
            context.timer_service().register_event_time_timer(value[1] * 1000 + 50)

        def on_timer(self, timestamp, context):
            yield f"{context.get_current_key()} {timestamp}"

    keyed = seen(environment()).key_by(lambda row: row[0], Types.STRING())
    return sorted(keyed.process(Late(), Types.STRING()).execute_and_collect())


def reduced():
    keyed = seen(environment()).key_by(lambda row: row[0], Types.STRING())
    sums = keyed.reduce(lambda a, b: (a[0], b[1], a[2] + b[2]))
    return sorted(str(row) for row in sums.execute_and_collect())


def side_output():
    odd = OutputTag("odd", Types.LONG())

    class Split(ProcessFunction):
        def process_element(self, value, context):
            yield (odd, value) if value % 2 else value

    numbers = environment().from_collection(list(range(6)), Types.LONG())
    return sorted(numbers.process(Split(), Types.LONG()).get_side_output(odd).execute_and_collect())


def broadcast():
    names = MapStateDescriptor("names", Types.LONG(), Types.STRING())

    class Named(KeyedBroadcastProcessFunction):
        def process_element(self, value, context):
            yield f"{value}"

        def process_broadcast_element(self, value, context):
            context.get_broadcast_state(names).put(value, "kept")
            yield f"{context.get_broadcast_state(names).get(value)} {value}"

    env = environment()
    numbers = env.from_collection([1, 2], Types.LONG()).key_by(lambda value: value, Types.LONG())
    rules = env.from_collection([7], Types.LONG()).broadcast(names)
    return sorted(numbers.connect(rules).process(Named(), Types.STRING()).execute_and_collect())


def table_api():
    """A window, a join, a Python table function, and the ways between streams and tables."""
    env = environment()
    tables = StreamTableEnvironment.create(env)
    rows = tables.from_data_stream(seen(env)).alias("k", "second", "n")
    tables.create_temporary_view("seen", rows)
    letters = tables.from_elements([("a", "x,y"), ("b", "z")], ["name", "parts"])

    @udtf(result_types=[DataTypes.STRING()])
    def split(text):
        yield from text.split(",")

    parts = letters.join_lateral(split(col("parts")).alias("part"))
    joined = rows.join(parts).where(col("k") == col("name")).select(col("part"), col("n"))
    sums = joined.group_by(col("part")).select(col("part"), col("n").sum.alias("total"))
    stream = tables.to_data_stream(tables.sql_query("SELECT k, n * 2 FROM seen WHERE n > 4"))
    doubled = sorted(str(tuple(row)) for row in stream.execute_and_collect())
    batch = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    batch.create_temporary_view("seen", batch.from_elements(SEEN, ["k", "second", "n"]))
    moments = batch.sql_query("SELECT k, n, TO_TIMESTAMP(FROM_UNIXTIME(`second`)) AS moment FROM seen")
    windows = (
        moments.window(Tumble.over(lit(60).seconds).on(col("moment")).alias("w"))
        .group_by(col("w"), col("k"))
        .select(col("k"), col("n").max)
    )
    changes = {}
    with sums.execute().collect() as found:
        for row in found:
            changes[row[0]] = row[1]
    with windows.execute().collect() as found:
        return sorted(changes.items()), doubled, sorted(tuple(row) for row in found)


def pandas_aggregate():
    tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    total = udaf(lambda n: n.sum(), result_type=DataTypes.BIGINT(), func_type="pandas")
    tables.create_temporary_function("total", total)
    tables.create_temporary_view("t", tables.from_elements([(1,), (2,)], ["n"]))
    return list(tables.execute_sql("SELECT total(n) FROM t").collect())


def pandas_rows():
    tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    row = DataTypes.ROW([DataTypes.FIELD("n", DataTypes.BIGINT())])
    twice = udf(lambda rows: rows * 2, result_type=row, func_type="pandas")
    return list(tables.from_elements([(1,), (2,)], ["n"]).map(twice).execute().collect())


def function_fails():
    @udf(result_type=DataTypes.BIGINT())
    def level(n):
        raise ValueError(f"no level for {n}")

    tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    return list(tables.from_elements([(7,)], ["n"]).select(level(col("n"))).execute().collect())


def process_mode():
    env = environment(python_execution__mode="process")
    return list(letters(env).map(lambda text: text, Types.STRING()).execute_and_collect())


def process(env):
    return list(letters(env).execute_and_collect())


def look():
    """What a function inside the JVM sees of storage and of the network."""

    def seen(_):
        found = sorted(path.name for path in Path("/work").iterdir())
        for place in ("/work", "/data"):
            try:
                Path(place, "plain.txt").write_text("x")
                found.append("written")
            except OSError as error:
                found.append(type(error).__name__)
        with open("/proc/net/dev") as devices:
            found += [line.split(":")[0].strip() for line in devices if ":" in line]
        return str(found)

    return list(letters(environment()).map(seen, Types.STRING()).execute_and_collect())[0]


PARTS = {
    "stream": stream.main,
    "table": table.main,
    "patients": lambda: patients(
        "id BIGINT, born DATE, seen TIMESTAMP(6), weight DOUBLE, well BOOLEAN, paid DECIMAL(9, 2), name STRING"
    ),
    "count": lambda: patients("id BIGINT, name STRING", "COUNT(*), MAX(name)"),
    "no column": lambda: patients("nobody STRING"),
    "other type": lambda: patients("name BIGINT"),
    "exactly once": exactly_once,
    "recovered": recovered,
    "unfinished": unfinished,
    "look": look,
    "backends": backends,
    "session windows": session_windows,
    "timers": timers,
    "reduced": reduced,
    "side output": side_output,
    "broadcast": broadcast,
    "Table API": table_api,
    "pandas aggregate": pandas_aggregate,
    "pandas rows": pandas_rows,
    "function fails": function_fails,
    "process mode": process_mode,
    "aggregate": aggregate,
    "elsewhere": lambda: process(environment(execution_target="local")),
    "setting": lambda: process(environment(pipeline_jars="file:///app/a.jar")),
    "no TLS": lambda: process(environment(security_ssl_internal_enabled="false")),
    "some TLS": lambda: process(environment(taskmanager_data_ssl_enabled="false")),
    "RocksDB elsewhere": lambda: process(environment(state_backend_rocksdb_localdir="/data/state")),
    "RocksDB's log": lambda: process(environment(state_backend_rocksdb_log_dir="/data/state")),
    "local copies": lambda: process(environment(execution_checkpointing_local__backup_dirs="/data/state")),
    "ungranted write": lambda: write(environment(), "out/nowhere"),
    "ungranted read": lambda: read("data/nowhere"),
    "plain": lambda: read("data/plain"),
    "schemes": schemes,
    "hadoop": lambda: process(environment(flink_hadoop_fs_mine_impl="org.apache.hadoop.fs.LocalFileSystem")),
    "changed": lambda: read("data/changed"),
    "SQL compaction": compacted,
    "sink that compacts": compacting_sink,
    "state among files": lambda: process(environment(execution_checkpointing_dir="file:///work/out/once")),
    "savepoints among files": lambda: process(environment(execution_checkpointing_savepoint__dir="data/pulses")),
    "read only": lambda: write(environment(), "data/pulses"),
}
for name, part in PARTS.items():
    try:
        print("TAKEN", name, part(), flush=True)
    except Exception as error:
        from confide.jvm.explanation import explain

        text = explain(error) or " ".join([repr(error), *re.findall("Caused by: .*", str(error))[-1:]])
        print("SAID", name, text.replace(chr(10), " ")[:1500], flush=True)
'''


def pulses() -> pd.DataFrame:
    chance = random.Random(7)
    rows = [
        (second, f"{MARK}-{patient}", chance.randint(40, 190))
        for second in range(0, 900, 5)
        for patient in range(3)
    ]
    return pd.DataFrame(rows, columns=["second", "patient", "pulse"])


class Ran:
    """The one run, and what it left."""

    def __init__(self, site, owner) -> None:
        self.site, self.owner = site, owner
        self.code = site.run()
        self.log = site.log(owner)

    def line(self, part: str) -> str:
        found = [line for line in self.log.splitlines() if line.split(" ", 1)[-1].startswith(part)]
        assert len(found) == 1, self.log[-6000:]
        return found[0]

    def files(self, location: str, folder: Path) -> list[Path]:
        """Decrypt what the newest listing of a location names."""
        stored = self.owner.store.listing_at("clinic", location)
        assert stored is not None, self.log[-6000:]
        target = folder / location.replace("/", "-")
        decrypt_files(self.site.data / location, stored.listing, self.owner.keyset, target)
        return sorted(target.rglob("part-*"))

    def rows(self, location: str, columns: list[str], folder: Path) -> pd.DataFrame:
        parts = [pd.read_csv(path, names=columns) for path in self.files(location, folder)]
        return pd.concat(parts).sort_values(columns, ignore_index=True)


def seal(owner, site, folder: Path, location: str) -> None:
    (site.data / location).parent.mkdir(parents=True, exist_ok=True)
    listing = encrypt_files(folder, site.data / location, owner.keyset, owner.key, location=location)
    owner.store.commit_listing(listing, sign_listing(listing, owner._signing_key, owner.name), 0)


@pytest.fixture(scope="module")
def small_flink(cache) -> ImageProfile:
    profile = image_profile(cache)
    return ImageProfile(**{**vars(profile), "limits": Limits(memory_mib=1536, scratch_mib=256, cores=1)})


@pytest.fixture(scope="module")
def ran(site, new_owner, small_flink, tmp_path_factory) -> Ran:
    owner = new_owner("clinic", site.broker("local"), site.root)
    source = tmp_path_factory.mktemp("pulses")
    pulses().to_csv(source / "a.csv", header=False, index=False)
    for location in ("data/pulses", "data/changed"):
        seal(owner, site, source, location)
    with (site.data / "data/changed/a.csv").open("r+b") as file:
        file.seek(-20, 2)
        file.write(b"x")
    (site.data / "data/plain").mkdir()
    (site.data / "data/plain/a.csv").write_text("1\n")
    for name in ("stream", "table"):
        (example,) = EXAMPLES.glob(f"*_flink_{name}.py")
        (site.root / f"app/{name}.py").write_bytes(example.read_bytes())
    owner.encrypt(PATIENTS, site.data, "data/patients")
    image = site.build(PROGRAM, small_flink)
    written = [
        "out/minutes",
        "out/alarms",
        "out/hours",
        "out/scaled",
        "out/once",
        "out/recovered",
        "state",
        "data/plain",
    ]
    owner.allow(
        image,
        ("data/patients", "read"),
        logs="clinic/data",
        files=written,
        read_files=["data/pulses", "data/changed"],
    )
    return Ran(site, owner)


def test_the_stream_example(ran, tmp_path):
    assert ran.line("stream").startswith("TAKEN")
    frame = pulses()
    minutes = (
        frame.assign(minute=frame["second"] // 60)
        .groupby(["minute", "patient"], as_index=False)["pulse"]
        .max()
    )
    found = ran.rows("out/minutes", ["minute", "patient", "pulse"], tmp_path)
    pd.testing.assert_frame_equal(found, minutes.sort_values(list(minutes), ignore_index=True))
    high = frame[frame["pulse"] > 140].copy()
    high["count"] = high.groupby("patient").cumcount() + 1
    alarms = high[high["count"] >= 3][["second", "patient", "count"]]
    found = ran.rows("out/alarms", ["second", "patient", "count"], tmp_path)
    pd.testing.assert_frame_equal(found, alarms.sort_values(list(alarms), ignore_index=True))


def test_the_table_example(ran, tmp_path):
    assert ran.line("table").startswith("TAKEN")
    frame = pulses()
    hours = frame.assign(hour=frame["second"] // 3600).groupby(["hour", "patient"], as_index=False)["pulse"]
    hours = hours.agg(pulses="count", highest="max")
    hours["level"] = [
        "high" if pulse > 140 else "low" if pulse < 50 else "normal" for pulse in hours["highest"]
    ]
    found = ran.rows("out/hours", list(hours), tmp_path)
    pd.testing.assert_frame_equal(found, hours.sort_values(list(hours), ignore_index=True))
    scaled = frame.assign(scaled=frame["pulse"] / 60)[["patient", "scaled"]]
    found = ran.rows("out/scaled", list(scaled), tmp_path)
    pd.testing.assert_frame_equal(found, scaled.sort_values(list(scaled), ignore_index=True))


def test_an_encrypted_table_is_a_source(ran):
    rows = sorted(str(tuple(row.values())) for row in PATIENTS.to_pylist())
    assert ran.line("patients") == f"TAKEN patients {rows}"
    assert ran.line("count") == f"TAKEN count [\"(3, '{MARK}-b')\"]"


def test_each_element_once_though_a_task_failed(ran, tmp_path):
    assert ran.line("exactly once") == "TAKEN exactly once True"
    assert list(ran.rows("out/once", ["n"], tmp_path)["n"]) == list(range(400))


def test_a_file_under_way_is_taken_up_and_committed_once(ran, tmp_path):
    assert ran.line("recovered").startswith("TAKEN")
    assert list(ran.rows("out/recovered", ["text"], tmp_path)["text"]) == ["kept", "written"]
    assert not list((ran.site.data / "out/recovered").glob(".part*"))


def test_a_file_under_way_is_not_taken_for_one_that_was_committed(ran):
    found = (["FileMissing: never committed"], [False, True, True])
    assert ran.line("unfinished") == f"TAKEN unfinished {found}"


def test_the_state_is_the_same_in_rocksdb_whose_files_lie_in_scratch(ran):
    found = {"hashmap": ["RocksDB False"], "rocksdb": ["RocksDB True"]}
    assert ran.line("backends") == f"TAKEN backends (700, True, {found})"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("session windows", ["a 1 6", "a 90 10", "b 2 10"]),
        ("timers", ["a 1050", "a 3050", "a 90050", "a 91050", "b 2050", "b 4050"]),
        (
            "reduced",
            [*("('a', 1, 5)", "('a', 3, 6)", "('a', 90, 8)", "('a', 91, 16)"), "('b', 2, 7)", "('b', 4, 10)"],
        ),
        ("side output", [1, 3, 5]),
        ("broadcast", ["1", "2", "kept 7"]),
        (
            "Table API",
            (
                [("x", 16), ("y", 16), ("z", 10)],
                ["('a', 10)", "('a', 16)", "('b', 14)"],
                [("a", 5), ("a", 8), ("b", 7)],
            ),
        ),
    ],
)
def test_each_api_gives_what_flink_gives(ran, part, expected):
    assert ran.line(part) == f"TAKEN {part} {expected}"


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("no column", "Misuse: the table has no column nobody"),
        ("other type", "Misuse: the column name is .* in the table, and cannot be read as BIGINT"),
        ("process mode", "LaunchRefused: python.execution-mode=process would weaken the protection"),
        ("aggregate", "LaunchRefused: the operator .* would run Python in another process"),
        ("pandas aggregate", "LaunchRefused: the operator .* would run Python in another process"),
        (
            "pandas rows",
            r"LaunchRefused\(.*a pandas function over whole rows .* would run Python in another process",
        ),
        ("function fails", "ValueError.*: no level for 7"),
        ("RocksDB elsewhere", "LaunchRefused: state.backend.rocksdb.localdir=/data/state .* temporary data"),
        ("RocksDB's log", "LaunchRefused: state.backend.rocksdb.log.dir=/data/state .* temporary data"),
        ("elsewhere", "LaunchRefused: execution.target=local would weaken the protection"),
        ("setting", "LaunchRefused: pipeline.jars=.* would weaken the protection"),
        ("no TLS", "LaunchRefused: security.ssl.internal.enabled=false would weaken the protection"),
        ("some TLS", "LaunchRefused: taskmanager.data.ssl.enabled=false would weaken the protection"),
        (
            "local copies",
            "LaunchRefused: execution.checkpointing.local-backup.dirs=.* temporary data would leave",
        ),
        ("ungranted write", "NoGrant: no grant for out/nowhere"),
        ("ungranted read", "NoGrant: no grant for data/nowhere"),
        ("plain", "NotEncrypted: not a sealed file"),
        ("hadoop", "LaunchRefused: flink.hadoop.fs.mine.impl=.* would weaken the protection"),
        ("changed", "FileChanged: does not authenticate"),
        ("SQL compaction", r"LaunchRefused: the operator .* \(Compact\w+\) joins files that the sink has"),
        (
            "sink that compacts",
            r"LaunchRefused: the operator .* \(Compact\w+\) joins files that the sink has",
        ),
        (
            "state among files",
            "LaunchRefused: execution.checkpointing.dir=file:///work/out/once: committed files",
        ),
        (
            "savepoints among files",
            "LaunchRefused: execution.checkpointing.savepoint-dir=data/pulses: committed",
        ),
        ("read only", "NoGrant: the grant of data/pulses is to read, not to write"),
    ],
)
def test_refused_with_the_reason(ran, part, said):
    assert ran.line(part).startswith("SAID")
    assert re.search(said, ran.line(part)), ran.line(part)


def test_no_file_system_of_hadoop_leads_past_the_guard(ran):
    assert ran.line("schemes") == "TAKEN schemes ([True, True, True, True], True)"


def test_a_function_sees_neither_storage_nor_a_network(ran):
    assert ran.line("look") == "TAKEN look ['OSError', 'FileNotFoundError', 'lo']"


def test_storage_holds_nothing_in_clear(ran):
    sealed = 0
    for path in ran.site.data.rglob("*"):
        if path.is_file() and path != ran.site.data / "data/plain/a.csv":
            data = path.read_bytes()
            assert MARK.encode() not in data, path
            assert data.startswith((b"CONFIDE", b"PARE")), path
            sealed += 1
    assert sealed > 10


def test_the_host_learns_nothing_of_it(ran):
    assert ran.code == 0
    assert MARK not in str(ran.site.said)
