"""An ordinary PySpark program that waits for two executors. Output: one line, `MEASURED` and JSON."""

import json
import time

from pyspark import SparkContext
from pyspark.sql import SparkSession

EXECUTORS = 2

SparkContext._ensure_initialized()  # the driver's own JVM is there before the clock starts, on either side
began = time.perf_counter()
spark = SparkSession.builder.appName("executors").getOrCreate()
while spark.sparkContext._jsc.sc().getExecutorMemoryStatus().size() <= EXECUTORS:  # and the driver itself
    time.sleep(0.01)
took = time.perf_counter() - began
heap = spark._jvm.java.lang.Runtime.getRuntime().maxMemory() >> 20
setup = {"master": spark.sparkContext.master, "heap_mib": heap, "spark": spark.version}
print("MEASURED", json.dumps({"took_s": took, "setup": setup}), flush=True)
spark.stop()
