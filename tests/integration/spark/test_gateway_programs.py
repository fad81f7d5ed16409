"""Ordinary PySpark programs, unmodified, through the TLS gateway."""

import dataclasses
import shutil

import pytest

from confide.errors import Unavailable

pytestmark = pytest.mark.spark

SQL_AND_FRAMES = """
import sys
import pandas as pd
from pyspark.sql import SparkSession, functions as F

if __name__ == "__main__":
    spark = SparkSession.builder.appName("study").master("local[*]").getOrCreate()
    print("argv", sys.argv[1:])
    print("sql", spark.sql("select sum(id) as s from range(1000)").first().s)
    print("pandas", spark.range(5000).toPandas().shape)
    print("from pandas", spark.createDataFrame(pd.DataFrame({"a": [1, 2, 3]})).count())
    print("iterator", sum(row.id for row in spark.range(5000).toLocalIterator()))
    print("session", spark.newSession().range(3).count())
    spark.stop()
    again = SparkSession.builder.getOrCreate()
    print("second context", again.range(7).count())
"""

FUNCTIONS = """
import os
import pandas as pd
from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession, functions as F

sc = SparkContext(conf=SparkConf().setAppName("rdd"))
spark = SparkSession(sc)
factor = 3

def total(column):
    return spark.range(100).select(column.alias("x")).agg(F.sum("x")).first()[0]

@F.pandas_udf("double")
def doubled(s: pd.Series) -> pd.Series:
    return s * 2.0

print("udf", total(F.udf(lambda x: x * factor, "long")("id")))
print("row udf", total(F.udf(lambda x: x * factor, "long", useArrow=False)("id")))
print("pandas udf", total(doubled("id")))
print("map", spark.range(100).mapInPandas(lambda frames: frames, "id long").count())
print("group", sorted(sc.parallelize(range(100), 4).map(lambda x: (x % 3, x)).groupByKey().mapValues(sum).collect()))
table = sc.broadcast(list(range(100000)))
print("broadcast", sc.parallelize(range(10), 2).map(lambda i: table.value[i]).sum())
seen = sc.accumulator(0)
sc.parallelize(range(100), 2).foreach(lambda i: seen.add(i))
print("accumulator", seen.value)
with open(os.environ["TMPDIR"] + "/dependency.py", "w") as file:
    file.write("VALUE = 7\\n")
sc.addPyFile(os.environ["TMPDIR"] + "/dependency.py")
print("file", sc.parallelize([1], 1).map(lambda _: __import__("dependency").VALUE).collect())
"""

STREAM_AND_MODEL = """
import os
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import LinearRegression
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
counts = []
query = (
    spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 5).load()
    .writeStream.foreachBatch(lambda frame, number: counts.append(frame.count()))
    .option("checkpointLocation", os.environ["TMPDIR"] + "/checkpoint")
    .trigger(processingTime="0 seconds").start()
)
while len(counts) < 3 and query.isActive:
    query.awaitTermination(0.1)
query.stop()
print("batches", counts[:3])
frame = spark.createDataFrame([(float(i), 2.0 * i + 1) for i in range(50)], ["x", "y"])
model = LinearRegression(featuresCol="f", labelCol="y").fit(
    VectorAssembler(inputCols=["x"], outputCol="f").transform(frame)
)
print("slope", round(model.coefficients[0], 3))
"""


def test_sql_and_frames(run):
    ran = run(SQL_AND_FRAMES, "--year", "2020")
    assert ran.code == 0, ran.output
    assert "argv ['--year', '2020']" in ran.output
    assert "sql 499500" in ran.output
    assert "pandas (5000, 1)" in ran.output
    assert "from pandas 3" in ran.output
    assert "iterator 12497500" in ran.output
    assert "session 3" in ran.output
    assert "second context 7" in ran.output


def test_python_functions(run):
    ran = run(FUNCTIONS)
    assert ran.code == 0, ran.output
    assert "udf 14850\nrow udf 14850\npandas udf 9900.0\nmap 100" in ran.output
    assert "group [(0, 1683), (1, 1617), (2, 1650)]" in ran.output
    assert "broadcast 45" in ran.output
    assert "accumulator 4950" in ran.output
    assert "file [7]" in ran.output


def test_callbacks_and_mllib(run):
    ran = run(STREAM_AND_MODEL)
    assert ran.code == 0, ran.output
    assert "batches [5, 5, 5]" in ran.output
    assert "slope 2.0" in ran.output


@pytest.mark.parametrize(
    ("end", "code"),
    [("sys.exit(3)", 3), ("sys.exit('no')", 1), ("1 / 0", 1), ("os.kill(os.getpid(), 9)", -9)],
)
def test_exit_code_passes_through(run, end, code):
    ran = run(f"import os, sys\nprint('ran')\n{end}\n")
    assert ran.code == code
    assert "ran" in ran.output


def test_exception_of_a_task_reaches_the_log_only(run, capfd):
    ran = run(
        "from pyspark.sql import SparkSession\n"
        "sc = SparkSession.builder.getOrCreate().sparkContext\n"
        "sc.parallelize([1]).map(lambda i: {}['canary-' + '4711']).collect()\n"
    )
    assert ran.code == 1
    assert "KeyError: 'canary-4711'" in ran.output
    assert "4711" not in "".join(capfd.readouterr())


UNREADABLE = """
import os
from pyspark.sql import SparkSession

sc = SparkSession.builder.getOrCreate().sparkContext
folder = os.environ["TMPDIR"] + "/files"
os.mkdir(folder)
with open(folder + "/one", "w") as file:
    file.write("1")
files = sc.binaryFiles(folder).cache()
print("read", files.collect())
os.remove(folder + "/one")
print("read", %s)
"""


@pytest.mark.parametrize(
    "action", ["files.collect()", "sc.runJob(files, lambda part: part)", "files.take(1)"]
)
def test_an_error_while_data_is_served_to_the_driver_is_raised(run, action):
    ran = run(UNREADABLE % action)
    assert ran.code == 1
    assert "read [('file:" in ran.output
    assert "FileNotFoundException" in ran.output
    assert "read []" not in ran.output


def test_a_jvm_that_does_not_start_ends_the_driver(profile, make_context, short_path):
    broken = dataclasses.replace(
        profile, installation=dataclasses.replace(profile.installation, jar=short_path / "missing.jar")
    )
    with (short_path / "log").open("wb") as output:
        code = broken.run(make_context("print('ran')", output=output.fileno()))
    assert code == Unavailable.exit_code
    assert "the JVM ended before its gateway was open" in (short_path / "log").read_text()
    assert "ran" not in (short_path / "log").read_text()


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="no bubblewrap")
def test_driver_and_functions_run_behind_a_sandbox(profile, make_context, short_path):
    hidden = short_path / "hidden"
    hidden.mkdir()
    (hidden / "file").touch()
    sandbox = ["/usr/bin/bwrap", "--unshare-user", "--dev-bind", "/", "/", "--tmpfs", str(hidden), "--"]
    confined = dataclasses.replace(profile, sandbox=lambda *_: sandbox)
    program = (
        "import os\n"
        "from pyspark.sql import SparkSession\n"
        "sc = SparkSession.builder.getOrCreate().sparkContext\n"
        f"print('functions', sc.parallelize([1], 1).map(lambda _: os.listdir({str(hidden)!r})).collect())\n"
        f"print('driver', os.listdir({str(hidden)!r}))\n"
    )
    with (short_path / "log").open("wb") as output:
        code = confined.run(make_context(program, output=output.fileno()))
    said = (short_path / "log").read_text()
    assert code == 0, said
    assert "functions [[]]\ndriver []" in said


TABLES = """
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
makers = {
    "save": lambda: spark.range(3).write.saveAsTable("t"),
    "append": lambda: spark.range(3).write.mode("append").saveAsTable("t"),
    "select": lambda: spark.sql("create table t using parquet as select 1 as id"),
    "empty": lambda: spark.sql("create table t (id int) using parquet"),
}
for name, make in makers.items():
    try:
        make()
        print("TAKEN", name)
    except Exception as error:
        print("refused", name, "NoGrant: the table t would lie in scratch" in str(error))
spark.range(3).createOrReplaceTempView("v")
print("view", spark.table("v").count())
spark.range(3).write.saveAsTable("t")
"""


def test_a_table_that_would_vanish_is_refused(run):
    ran = run(TABLES)
    assert ran.code == 1
    assert "TAKEN" not in ran.output
    assert ran.output.count(" True") == 4, ran.output
    assert "view 3" in ran.output
    said = (
        "NoGrant: the table t would lie in scratch, which is gone after the run; write to a granted location"
    )
    assert ran.output.splitlines()[-1] == f"confide: {said}"


def test_a_path_without_a_grant_is_said_once(run):
    ran = run(
        "from pyspark.sql import SparkSession\n"
        "SparkSession.builder.getOrCreate().read.parquet('data/wards').count()\n"
    )
    assert ran.code == 1
    assert "Assume no metadata directory" not in ran.output
    assert ran.output.splitlines()[-1] == "confide: NoGrant: no grant for data/wards; granted: nothing"
