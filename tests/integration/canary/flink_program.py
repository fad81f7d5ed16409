"""An ordinary PyFlink program that moves its values through every place where Flink puts data.

The values come from the file only, so that this file holds none of them.
"""

import sys

from pyflink.common import Configuration, Encoder, Time, Types, WatermarkStrategy
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import KeyedProcessFunction, ProcessWindowFunction, StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSink, FileSource, StreamFormat
from pyflink.datastream.state import ListStateDescriptor
from pyflink.datastream.window import TumblingEventTimeWindows
from pyflink.table import EnvironmentSettings, TableEnvironment

settings = Configuration()
settings.set_string("execution.checkpointing.interval", "300 ms")
settings.set_string("execution.checkpointing.dir", "file://" + sys.argv[1] + "/state")
settings.set_string("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION")
env = StreamExecutionEnvironment.get_execution_environment(settings)
env.set_parallelism(1)


class Row(TimestampAssigner):
    def extract_timestamp(self, value, record_timestamp):
        return value[0] * 1000


class Seen(KeyedProcessFunction):
    def open(self, context):
        self.seen = context.get_list_state(ListStateDescriptor("seen", Types.STRING()))

    def process_element(self, value, context):
        self.seen.add(value[1])
        yield value


class Longest(ProcessWindowFunction):
    def process(self, key, context, elements):
        yield max(text for _, text in elements)


def numbered(line):
    number, text = line.split(",")
    return int(number), text


PAIR = Types.TUPLE([Types.LONG(), Types.STRING()])
source = FileSource.for_record_stream_format(StreamFormat.text_line_format(), "data/people").build()
people = (
    env.from_source(source, WatermarkStrategy.no_watermarks(), "people")
    .map(numbered, PAIR)
    .assign_timestamps_and_watermarks(
        WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(Row())
    )
    .key_by(lambda value: value[0] % 50, Types.LONG())
    .process(Seen(), PAIR)
)
windows = people.key_by(lambda value: value[0] % 50, Types.LONG()).window(
    TumblingEventTimeWindows.of(Time.seconds(100))
)
sink = FileSink.for_row_format("out/longest", Encoder.simple_string_encoder()).build()
windows.process(Longest(), Types.STRING()).sink_to(sink)
env.execute()

tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
tables.execute_sql(
    "CREATE TABLE people (id BIGINT, v STRING)"
    " WITH ('connector' = 'filesystem', 'path' = 'data/people', 'format' = 'csv')"
)
with tables.execute_sql("SELECT MAX(v), COUNT(*) FROM people").collect() as rows:
    print("collected", [tuple(row) for row in rows])
tables.execute_sql("SELECT v FROM people ORDER BY v LIMIT 3").print()


def fails(text):
    raise ValueError(f"cannot read {text}")


env = StreamExecutionEnvironment.get_execution_environment(settings)
env.set_parallelism(1)
env.from_source(source, WatermarkStrategy.no_watermarks(), "people").map(fails, Types.STRING()).print()
try:
    env.execute()
except Exception as error:
    print("failed as it should:", error)
raise ValueError("the program ends")
