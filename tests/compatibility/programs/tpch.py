"""An ordinary PySpark program: the 22 queries of TPC-H, each with its whole result."""

from pyspark.sql import SparkSession
from queries import QUERIES

spark = SparkSession.builder.appName("tpch").getOrCreate()
for name in ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"):
    spark.read.parquet(f"tpch/{name}").createOrReplaceTempView(name)
for name, query in QUERIES.items():
    print(name)
    for row in spark.sql(query).collect():
        print(name, tuple(row))
spark.stop()
