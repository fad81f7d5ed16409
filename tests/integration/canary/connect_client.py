"""A client of Spark Connect that moves values both ways: `plain` of a server in clear, or of `confide spark connect`.

The values come from the tables only, so that this file holds none of them.
"""

import subprocess
import sys
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType


def work(spark: SparkSession) -> None:
    people = spark.read.parquet("data/people")
    literal = spark.read.parquet("data/literal").first()["value"]
    parallel = spark.read.parquet("data/parallel").first()["value"]
    people.createOrReplaceTempView("people")
    print("literal", spark.sql(f"SELECT count(*) AS n FROM people WHERE value <> '{literal}'").first()["n"])
    local = spark.createDataFrame([(i, f"{parallel}-{i}") for i in range(2000)], "id int, value string")
    print("local", local.groupBy("value").count().count())
    print("collected", len(people.limit(1000).collect()), len(people.limit(50).toPandas()))

    @F.udf(StringType())
    def turned(text):
        return text[::-1]

    print("functions", people.select(turned("value").alias("v")).agg(F.count("v")).first()[0])


if sys.argv[1] == "plain":
    # A server in this process, and a client of it.
    work(SparkSession.builder.remote("local[2]").getOrCreate())
else:
    from confide.spark.client import connect

    argv = [sys.executable, "-m", "confide", "spark", "connect", "analysts.toml", "--tee", "simulated"]
    server = subprocess.Popen(
        [*argv, "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        close_fds=False,
    )
    try:
        url = next(line.split()[1] for line in server.stdout if line.startswith("ready: "))
        spark = connect(url, "analysts.accept.toml", Path(sys.argv[2]).read_text().strip())
        work(spark)
        spark.stop()
    finally:
        server.terminate()
        print(server.stdout.read())
        print("server ended with", server.wait(60))
