"""An ordinary PySpark program that moves its values through every place where Spark puts data.

The values come from the tables only, so that this file holds none of them.
"""

import sys

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

spark = (
    SparkSession.builder.appName("places")
    .config("spark.shuffle.compress", "false")  # so that a search can find what is written in clear
    .config("spark.shuffle.spill.compress", "false")
    .config("spark.rdd.compress", "false")
    .config("spark.broadcast.compress", "false")
    .config("spark.checkpoint.compress", "false")
    .config("spark.eventLog.compress", "false")
    .config("spark.eventLog.enabled", "true")
    .config("spark.eventLog.dir", sys.argv[1])
    .config("spark.shuffle.spill.numElementsForceSpillThreshold", "500")
    .config("spark.sql.windowExec.buffer.spill.threshold", "500")
    .config("spark.python.worker.memory", "1m")
    .getOrCreate()
)
sc = spark.sparkContext
sc.setCheckpointDir("state/checkpoints")

people = spark.read.parquet("data/people")  # id, value: each value holds DATA
literal = spark.read.parquet("data/literal").first()["value"]  # LITERAL
parallel = spark.read.parquet("data/parallel").first()["value"]  # PARALLEL
token = spark.read.parquet("data/token").first()["value"]  # TOKEN: a secret in the configuration
failure = spark.read.parquet("data/failure").first()["value"]  # FAILURE

# Shuffle and spill, a sort-merge join, a cache on disk.
spark.conf.set("spark.sql.autoBroadcastJoinThreshold", -1)
spark.conf.set("spark.sql.shuffle.partitions", 4)
spark.conf.set("spark.sql.adaptive.enabled", "false")
spark.conf.set("spark.example.token", token)
wide = people.withColumn("copy", F.concat("value", F.lit("-"), F.col("id").cast("string")))
joined = wide.join(people.select("id", F.col("value").alias("other")), "id").sortWithinPartitions("copy")
from pyspark import StorageLevel  # noqa: E402

joined.persist(StorageLevel.DISK_ONLY)
print("joined", joined.count(), joined.agg(F.max("copy")).first()[0])

# Checkpoint, a SQL literal, text and table output.
checked = people.limit(500).checkpoint()
print("checked", checked.count())
people.createOrReplaceTempView("people")
print("literal", spark.sql(f"SELECT count(*) AS n FROM people WHERE value <> '{literal}'").first()["n"])
people.limit(100).write.mode("overwrite").parquet("out/table")
people.limit(100).write.mode("overwrite").csv("out/text")

# A stream with state and checkpoints.
seen = spark.readStream.schema("id long, value string").csv("out/text").groupBy("value").count()
query = seen.writeStream.outputMode("complete").format("memory").queryName("seen").trigger(availableNow=True)
query.option("checkpointLocation", "state/stream").start().awaitTermination()
print("streamed", spark.table("seen").count())

# Local data, broadcast, Python, Arrow and pandas functions, Python's own spills.
local = spark.createDataFrame([(i, f"{parallel}-{i}") for i in range(2000)], "id int, value string")
print("local", local.groupBy("value").count().count())
shared = sc.broadcast([parallel] * 2000)
print("small", people.join(F.broadcast(people.limit(1000).select("id")), "id").agg(F.max("value")).first()[0])
print("broadcast", sc.parallelize(range(4), 2).map(lambda i: len(shared.value[i])).sum())


@F.udf(StringType())
def plain(text):
    return text[::-1]


@F.pandas_udf(StringType())
def arrow(text: pd.Series) -> pd.Series:
    return text.str.upper()


print(
    "functions",
    people.select(plain("value").alias("a"), arrow("value").alias("b")).agg(F.max("a")).first()[0],
)
if "--scala" in sys.argv:
    spark.udf.registerJavaFunction("shout", "example.Shout", StringType())
    print("scala", people.selectExpr("shout(value) AS loud").agg(F.max("loud")).first()[0][-1])
sc.setLogLevel("WARN")
grouped = people.rdd.map(lambda row: (row["id"] % 50, row["value"] * 5)).groupByKey(2)
print("grouped", grouped.mapValues(lambda values: len(list(values))).count())
print("pandas", len(people.limit(50).toPandas()), sum(1 for _ in people.limit(50).toLocalIterator()))


@F.udf(StringType())
def fails(text):
    raise ValueError(f"cannot read {failure}")


try:
    people.limit(1).select(fails("value")).collect()
except Exception as error:
    print("failed as it should:", error)
if "--fail" in sys.argv:
    raise ValueError(f"the program ends with {failure}")
spark.stop()
