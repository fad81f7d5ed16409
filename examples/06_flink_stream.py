"""Pulses of patients as a stream: event time, windows, keyed state, exactly-once files. An ordinary PyFlink program.

data/pulses   lines `second,patient,pulse`
out/minutes   each patient's highest pulse of each minute
out/alarms    each patient's third pulse above 140, and every one after
state         checkpoints
"""

from pathlib import Path

from pyflink.common import Configuration, Duration, Encoder, Time, Types, WatermarkStrategy
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import KeyedProcessFunction, ProcessWindowFunction, StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSink, FileSource, StreamFormat
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.datastream.window import TumblingEventTimeWindows

PULSE = Types.TUPLE([Types.LONG(), Types.STRING(), Types.INT()])


class Second(TimestampAssigner):
    def extract_timestamp(self, value, record_timestamp):
        return value[0] * 1000


class Highest(ProcessWindowFunction):
    def process(self, key, context, elements):
        yield f"{context.window().start // 60_000},{key},{max(pulse for _, _, pulse in elements)}"


class Alarm(KeyedProcessFunction):
    def open(self, context):
        self.high = context.get_state(ValueStateDescriptor("high", Types.INT()))

    def process_element(self, value, context):
        second, patient, pulse = value
        if pulse > 140:
            count = (self.high.value() or 0) + 1
            self.high.update(count)
            if count >= 3:
                yield f"{second},{patient},{count}"


def parse(line):
    second, patient, pulse = line.split(",")
    return int(second), patient, int(pulse)


def main():
    settings = Configuration()
    settings.set_string("execution.checkpointing.interval", "1 s")
    settings.set_string("execution.checkpointing.dir", Path("state").absolute().as_uri())
    env = StreamExecutionEnvironment.get_execution_environment(settings)
    env.set_parallelism(1)
    source = FileSource.for_record_stream_format(StreamFormat.text_line_format(), "data/pulses").build()
    watermarks = WatermarkStrategy.for_bounded_out_of_orderness(
        Duration.of_seconds(5)
    ).with_timestamp_assigner(Second())
    pulses = (
        env.from_source(source, WatermarkStrategy.no_watermarks(), "pulses")
        .map(parse, PULSE)
        .assign_timestamps_and_watermarks(watermarks)
        .key_by(lambda value: value[1], Types.STRING())
    )
    minutes = pulses.window(TumblingEventTimeWindows.of(Time.minutes(1))).process(Highest(), Types.STRING())
    alarms = pulses.process(Alarm(), Types.STRING())
    for name, stream in (("minutes", minutes), ("alarms", alarms)):
        sink = FileSink.for_row_format(f"out/{name}", Encoder.simple_string_encoder()).build()
        stream.sink_to(sink)
    env.execute("pulses")


if __name__ == "__main__":
    main()
