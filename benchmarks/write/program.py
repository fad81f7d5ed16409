"""An ordinary PySpark program: writes `tpch/lineitem` to `out/lineitem` four times, the last three measured.

It knows nothing of encryption. Before each write the same rows go to Spark's `noop` sink, which tells what reading
costs. Output: one line, `MEASURED` and JSON.
"""

import json
import statistics
import time

from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - its usual name


def cpu_clock(spark):
    """Return a function that gives the CPU seconds of the JVM so far (see tpch/program.py)."""
    java = spark._jvm.java.lang
    none = spark.sparkContext._gateway.new_array(java.Object, 0)
    no_types = spark.sparkContext._gateway.new_array(java.Class, 0)
    bean = java.management.ManagementFactory.getOperatingSystemMXBean()
    method = java.Class.forName("com.sun.management.OperatingSystemMXBean").getMethod(
        "getProcessCpuTime", no_types
    )
    return lambda: method.invoke(bean, none) / 1e9


def measured(cpu, action):
    cpu_before, wall_before = cpu(), time.perf_counter()
    action()
    return {"cpu_s": cpu() - cpu_before, "wall_s": time.perf_counter() - wall_before}


def main():
    spark = SparkSession.builder.appName("write").getOrCreate()
    lines = spark.read.parquet("tpch/lineitem")
    cpu = cpu_clock(spark)
    reads, writes = [], []
    for _ in range(4):
        reads.append(measured(cpu, lambda: lines.write.format("noop").mode("overwrite").save()))
        # The codec is named because a plain session would take another one.
        target = lines.write.mode("overwrite").option("compression", "zstd")
        writes.append(measured(cpu, lambda target=target: target.parquet("out/lineitem")))
    actions = {
        name: {unit: statistics.median(step[unit] for step in steps[1:]) for unit in ("cpu_s", "wall_s")}
        for name, steps in (("read", reads), ("write", writes))
    }
    written = spark.read.parquet("out/lineitem")
    hashed = written.select(F.xxhash64(*written.columns).cast("decimal(38,0)").alias("hash"))
    rows, total = hashed.agg(F.count("*"), F.sum("hash")).first()
    heap = spark._jvm.java.lang.Runtime.getRuntime().maxMemory() >> 20
    setup = {"master": spark.sparkContext.master, "heap_mib": heap, "spark": spark.version}
    content = {"rows": rows, "hash": str(total)}
    print("MEASURED", json.dumps({"actions": actions, "content": content, "setup": setup}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
