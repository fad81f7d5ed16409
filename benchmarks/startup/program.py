"""An ordinary PySpark program that does next to nothing. Output: one line, `MEASURED` and JSON."""

import json

from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("startup").getOrCreate()
total = spark.range(1000).selectExpr("sum(id) AS total").first()["total"]
heap = spark._jvm.java.lang.Runtime.getRuntime().maxMemory() >> 20
setup = {"master": spark.sparkContext.master, "heap_mib": heap, "spark": spark.version}
print("MEASURED", json.dumps({"total": total, "setup": setup}), flush=True)
spark.stop()
