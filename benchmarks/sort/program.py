"""An ordinary PySpark program: makes rows of numbers, sorts them by one, and says how long that took.

It knows nothing of encryption. A row is 12 random-looking numbers, which do not compress: 96 bytes, and as many through
the shuffle. A small sort comes first, to warm up. Output: one line, `MEASURED` and JSON.
"""

import json
import time
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql.functions import lit, xxhash64

COLUMNS = 12
PARTITIONS = 32


def sort(spark, rows):
    numbers = spark.range(0, rows, 1, PARTITIONS)
    made = numbers.select(*(xxhash64("id", lit(i)).alias(f"c{i}") for i in range(COLUMNS)))
    made.sort("c0").write.format("noop").mode("overwrite").save()


def main():
    spark = (
        SparkSession.builder.appName("sort").config("spark.sql.shuffle.partitions", PARTITIONS).getOrCreate()
    )
    rows = int(Path(__file__).with_name("rows.txt").read_text())
    sort(spark, max(1, rows // 20))
    began, start = time.perf_counter(), time.time()
    sort(spark, rows)
    span = (start, time.time())
    heap = spark._jvm.java.lang.Runtime.getRuntime().maxMemory() >> 20
    setup = {"master": spark.sparkContext.master, "heap_mib": heap, "spark": spark.version}
    measured = {"wall_s": time.perf_counter() - began, "span": span, "rows": rows}
    print("MEASURED", json.dumps({"sort": measured, "setup": setup}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
