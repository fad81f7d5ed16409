"""An ordinary PySpark program: runs the 22 queries over `tpch/<table>` and prints what they cost.

It knows nothing of encryption. The median of the passes that count (`passes`) is taken. Output: one line, `MEASURED`
and JSON.
"""

import hashlib
import json
import statistics
import time
from collections import defaultdict

from passes import COUNTED, WARM_UP
from pyspark.sql import SparkSession
from queries import QUERIES

TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")


def cpu_clock(spark):
    """Return a function that gives the CPU seconds of the JVM so far.

    The bean's own class is not exported by its module, so its method is looked up on the exported interface.
    """
    java = spark._jvm.java.lang
    none = spark.sparkContext._gateway.new_array(java.Object, 0)
    no_types = spark.sparkContext._gateway.new_array(java.Class, 0)
    bean = java.management.ManagementFactory.getOperatingSystemMXBean()
    method = java.Class.forName("com.sun.management.OperatingSystemMXBean").getMethod(
        "getProcessCpuTime", no_types
    )
    return lambda: method.invoke(bean, none) / 1e9


def digest(rows):
    """Return a hash of the rows as a set: ties in an ORDER BY may come in any order."""
    text = "\n".join(sorted(repr(tuple(row)) for row in rows))
    return hashlib.sha256(text.encode()).hexdigest()


def main():
    spark = SparkSession.builder.appName("tpch").getOrCreate()
    for name in TABLES:
        spark.read.parquet(f"tpch/{name}").createOrReplaceTempView(name)
    cpu = cpu_clock(spark)
    queries, cpu_times, wall_times, spans = {}, defaultdict(list), defaultdict(list), defaultdict(list)
    for pass_number in range(WARM_UP + COUNTED):
        for name, sql in QUERIES.items():
            cpu_before, wall_before, start = cpu(), time.perf_counter(), time.time()
            rows = spark.sql(sql).collect()
            cpu_s, wall_s = cpu() - cpu_before, time.perf_counter() - wall_before
            if pass_number < WARM_UP:
                continue
            cpu_times[name].append(cpu_s)
            wall_times[name].append(wall_s)
            spans[name].append((start, time.time()))
            queries[name] = {
                "cpu_s": statistics.median(cpu_times[name]),
                "wall_s": statistics.median(wall_times[name]),
                "spans": spans[name],
                "rows": len(rows),
                "digest": digest(rows),
                "first": str(tuple(rows[0])) if rows else "",
            }
    heap = spark._jvm.java.lang.Runtime.getRuntime().maxMemory() >> 20
    setup = {"master": spark.sparkContext.master, "heap_mib": heap, "spark": spark.version}
    print("MEASURED", json.dumps({"queries": queries, "setup": setup}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
