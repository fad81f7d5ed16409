"""The same pulses as a table: SQL, Table API, a window, a Python and a pandas function. An ordinary PyFlink program.

data/pulses   lines `second,patient,pulse`
out/hours     of each patient: number of pulses, the highest, and its level
out/scaled    each pulse relative to 60
"""

import pandas as pd
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment
from pyflink.table.expressions import col
from pyflink.table.udf import udf


@udf(result_type=DataTypes.STRING())
def level(pulse: int) -> str:
    return "high" if pulse > 140 else "low" if pulse < 50 else "normal"


@udf(result_type=DataTypes.DOUBLE(), func_type="pandas")
def scaled(pulse: pd.Series) -> pd.Series:
    return pulse / 60


def main():
    table_env = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
    table_env.get_config().set("parallelism.default", "1")
    table_env.create_temporary_function("level_of", level)
    table_env.execute_sql(
        "CREATE TABLE pulses (`second` BIGINT, patient STRING, pulse INT,"
        " moment AS TO_TIMESTAMP_LTZ(`second`, 0), WATERMARK FOR moment AS moment - INTERVAL '5' SECOND)"
        " WITH ('connector' = 'filesystem', 'path' = 'data/pulses', 'format' = 'csv')"
    )
    for name, columns in (
        ("hours", "`hour` BIGINT, patient STRING, pulses BIGINT, highest INT, level STRING"),
        ("scaled", "patient STRING, scaled DOUBLE"),
    ):
        table_env.execute_sql(
            f"CREATE TABLE {name} ({columns})"
            f" WITH ('connector' = 'filesystem', 'path' = 'out/{name}', 'format' = 'csv')"
        )
    table_env.execute_sql(
        "INSERT INTO hours SELECT `hour`, patient, pulses, highest, level_of(highest) FROM ("
        "  SELECT CAST(TIMESTAMPDIFF(HOUR, TIMESTAMP '1970-01-01 00:00:00', window_start) AS BIGINT) AS `hour`,"
        "         patient, COUNT(*) AS pulses, MAX(pulse) AS highest"
        "  FROM TUMBLE(TABLE pulses, DESCRIPTOR(moment), INTERVAL '1' HOUR)"
        "  GROUP BY window_start, window_end, patient)"
    ).wait()
    pulses = table_env.from_path("pulses").filter(col("pulse").is_not_null)
    pulses.select(col("patient"), scaled(col("pulse"))).execute_insert("scaled").wait()


if __name__ == "__main__":
    main()
