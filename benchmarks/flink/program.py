# /// script
# [tool.confide]
# args = ["[0-9]+"]
# ///
"""The job on both sides: windows of one second of event time, by key, over as many events as the argument says.

Sink and checkpoints are files, which `confide` seals. The program knows nothing of that.
"""

import json
import sys
import time
from pathlib import Path

from pyflink.common import Configuration, Types, WatermarkStrategy
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.table import Schema, StreamTableEnvironment

EVENTS = int(sys.argv[1])
KEYS = 1000
PER_MS = 100

configuration = Configuration()
configuration.set_string("parallelism.default", "2")
configuration.set_string("execution.checkpointing.interval", "2 s")
configuration.set_string("execution.checkpointing.dir", Path("state").absolute().as_uri())
environment = StreamExecutionEnvironment.get_execution_environment(configuration)
tables = StreamTableEnvironment.create(environment)
source = NumberSequenceSource(0, EVENTS - 1)
events = environment.from_source(source, WatermarkStrategy.no_watermarks(), "events", Types.LONG())
schema = (
    Schema.new_builder()
    .column("f0", "BIGINT")
    .column_by_expression("k", f"MOD(f0, {KEYS})")
    .column_by_expression("moment", f"TO_TIMESTAMP_LTZ(f0 / {PER_MS}, 3)")
    .watermark("moment", "moment")
    .build()
)
tables.create_temporary_view("events", events, schema)
tables.execute_sql(
    "CREATE TABLE windows (k BIGINT, begun TIMESTAMP_LTZ(3), events BIGINT, highest BIGINT)"
    " WITH ('connector' = 'filesystem', 'path' = 'out/windows', 'format' = 'csv')"
)
start = time.time()
tables.execute_sql(
    "INSERT INTO windows SELECT k, CAST(window_start AS TIMESTAMP_LTZ(3)), COUNT(*), MAX(f0)"
    " FROM TUMBLE(TABLE events, DESCRIPTOR(moment), INTERVAL '1' SECOND) GROUP BY window_start, window_end, k"
).wait()
print("MEASURED " + json.dumps({"start": start, "end": time.time()}), flush=True)
