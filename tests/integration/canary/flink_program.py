# /// script
# [tool.confide]
# args = ["new", "state/[0-9a-f]{32}/chk-[0-9]+"]
# ///
"""An ordinary PyFlink program that moves its values through every place where Flink puts data.

The values come from the data only, so that this file holds none of them. Its stream fails in the middle and goes on
from a checkpoint; then it slows down, until somebody kills it and starts it again with a checkpoint's path.
"""

import sys
import tempfile
import time
from pathlib import Path

from pyflink.common import Configuration, Duration, Encoder, Time, Types, WatermarkStrategy
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import (
    KeyedProcessFunction,
    MapFunction,
    ProcessWindowFunction,
    StreamExecutionEnvironment,
)
from pyflink.datastream.connectors.file_system import FileSink, FileSource, RollingPolicy, StreamFormat
from pyflink.datastream.state import ListStateDescriptor, ValueStateDescriptor
from pyflink.datastream.window import TumblingEventTimeWindows
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment
from pyflink.table.udf import udf

FAILED = Path(tempfile.gettempdir(), "failed-once")
HERE = Path.cwd().as_uri()
RESTORED = None if sys.argv[-1] == "new" else f"{HERE}/{sys.argv[-1]}"
WINDOW_SECONDS = 400
FILES = "'connector' = 'filesystem', 'path' = '%s', 'format' = '%s'"
EVENT = Types.TUPLE([Types.LONG(), Types.STRING(), Types.STRING()])
TWO_TASK_MANAGERS = {
    "minicluster.number-of-taskmanagers": "2",  # so that records cross between them
    "parallelism.default": "2",
    "execution.batch.shuffle.compression.codec": "NONE",  # so that a search finds what is written in clear
    "taskmanager.network.compression.codec": "NONE",
    "python.execution-mode": "thread",  # as confined; and so that two jobs of one process do
    "classloader.parent-first-patterns.additional": "pemja;org.apache.flink.api.python;"
    "org.apache.flink.streaming.api.operators.python",
}


@udf(result_type=DataTypes.STRING())
def backwards(text: str) -> str:
    return text[::-1]


def batch():
    """Collected results, a literal in a plan, local data, functions, shuffles between tasks."""
    env = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    for name, value in TWO_TASK_MANAGERS.items():
        env.get_config().set(name, value)
    env.create_temporary_function("backwards", backwards)
    env.execute_sql(f"CREATE TABLE backward (v STRING) WITH ({FILES % ('data/backward', 'raw')})")
    env.execute_sql(f"CREATE TABLE people (id BIGINT, v STRING) WITH ({FILES % ('data/people', 'csv')})")
    env.execute_sql(f"CREATE TABLE sorted (id BIGINT, v STRING) WITH ({FILES % ('out/sorted', 'csv')})")
    with env.execute_sql("SELECT v FROM backward").collect() as rows:
        literal = next(iter(rows))[0][::-1]
    print("literal", literal)
    env.create_temporary_view(
        "given", env.from_elements([(i, f"{literal}-{i}") for i in range(500)], ["id", "v"])
    )
    env.execute_sql(
        "INSERT INTO sorted SELECT p.id, backwards(p.v) FROM people p LEFT JOIN given ON p.id = given.id"
        f" WHERE p.v <> '{literal}' AND (given.v IS NULL OR given.v <> '{literal}') ORDER BY p.v DESC"
    ).wait()
    return literal


class Second(TimestampAssigner):
    def extract_timestamp(self, value, record_timestamp):
        return value[0] * 1000


class Paced(MapFunction):
    """Fails once in the middle, and is slow after that unless it goes on from a checkpoint of an earlier run."""

    def map(self, line):
        second, name, value = line.split(",")
        if RESTORED is None:
            time.sleep(0.02 if int(second) <= WINDOW_SECONDS else 0.5)
            if int(second) == WINDOW_SECONDS // 2 and not FAILED.exists():
                time.sleep(2)  # so that a checkpoint completes
                FAILED.touch()
                raise ValueError(f"cannot read {value}")
        return int(second), name, value


class Remembers(KeyedProcessFunction):
    """Keeps each key's values, and what its state has been through."""

    def open(self, context):
        self.attempt = "restored" if RESTORED else "again" if FAILED.exists() else "first"
        self.values = context.get_list_state(ListStateDescriptor("values", Types.STRING()))
        self.attempts = context.get_state(ValueStateDescriptor("attempts", Types.STRING()))

    def process_element(self, value, context):
        second, name, text = value
        self.values.add(text * 20)
        attempts = self.attempts.value() or ""
        if not attempts.endswith(self.attempt):
            attempts += f" {self.attempt}"
            self.attempts.update(attempts)
        yield f"{second},{name},{text},{sum(1 for _ in self.values.get())},{attempts}"


class Joined(ProcessWindowFunction):
    def process(self, key, context, elements):
        values = sorted((second, text) for second, _, text in elements)
        yield f"{context.window().start // 1000},{key},{len(values)},{values[0][1]},{values[-1][1]}"


def stream(literal):
    """Keyed state, event-time windows, checkpoints, files exactly once."""
    settings = Configuration()
    for name, value in TWO_TASK_MANAGERS.items():
        settings.set_string(name, value)
    settings.set_string("state.backend.type", "rocksdb")
    settings.set_string("execution.checkpointing.incremental", "true")
    settings.set_string(
        "execution.checkpointing.data-inline-threshold", "0 b"
    )  # each file of RocksDB by itself
    settings.set_string("execution.checkpointing.interval", "1 s")
    settings.set_string("execution.checkpointing.dir", f"{HERE}/state")
    settings.set_string("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION")
    settings.set_string("restart-strategy.type", "fixed-delay")
    settings.set_string("restart-strategy.fixed-delay.delay", "100 ms")
    settings.set_string("pipeline.global-job-parameters", f"literal:{literal}")
    if RESTORED:
        settings.set_string("execution.state-recovery.path", RESTORED)
    env = StreamExecutionEnvironment.get_execution_environment(settings)
    source = FileSource.for_record_stream_format(StreamFormat.text_line_format(), "data/events").build()
    watermarks = WatermarkStrategy.for_bounded_out_of_orderness(
        Duration.of_seconds(5)
    ).with_timestamp_assigner(Second())
    keyed = (
        env.from_source(source, WatermarkStrategy.no_watermarks(), "events")
        .map(Paced(), EVENT)
        .assign_timestamps_and_watermarks(watermarks)
        .key_by(lambda event: event[1], Types.STRING())
    )
    windows = keyed.window(TumblingEventTimeWindows.of(Time.seconds(WINDOW_SECONDS)))
    for name, results, rolling in (
        ("counts", keyed.process(Remembers(), Types.STRING()), RollingPolicy.default_rolling_policy()),
        ("windows", windows.process(Joined(), Types.STRING()), RollingPolicy.on_checkpoint_rolling_policy()),
    ):
        sink = FileSink.for_row_format(f"out/{name}", Encoder.simple_string_encoder())
        results.sink_to(sink.with_rolling_policy(rolling).build())
    env.execute("events")


stream("none" if RESTORED else batch())
print("streamed to the end", flush=True)
