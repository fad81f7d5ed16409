"""What a library OS cannot run is refused when the image is built, with the way that works."""

from __future__ import annotations

from pathlib import Path

import pytest

from confide.enclave.matrix import FEATURES, check_program
from confide.errors import InvalidImage

SQL = b"""
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.ml.feature import VectorAssembler
spark = SparkSession.builder.getOrCreate()
spark.read.parquet("in").groupBy("ward").agg(F.avg("age")).write.parquet("out")
"""


def check(source: bytes, profile: str = "spark", libos: str = "gramine") -> None:
    check_program([("job.py", source)], profile, libos)


@pytest.mark.parametrize("libos", ["gramine", "occlum"])
def test_sql_and_mllib_run(libos):
    check(SQL, libos=libos)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("from pyspark.sql.functions import udf", "udf"),
        ("f = F.udf(lambda x: x)", "udf"),
        ("from pyspark.sql.functions import pandas_udf", "pandas_udf"),
        ("df.mapInPandas(f, s)", "mapInPandas"),
        ("df.groupBy('a').applyInPandas(f, s)", "applyInPandas"),
        ("df.rdd.map(f)", "rdd"),
        ("sc.parallelize([1])", "parallelize"),
        ("import pyspark.pandas as ps", "pyspark.pandas"),
        ("from pyspark import pandas", "pyspark.pandas"),
        ("from pyspark.pandas import read_parquet", "pyspark.pandas"),
    ],
)
@pytest.mark.parametrize("libos", ["gramine", "occlum"])
def test_what_needs_python_workers_runs_under_neither(line, name, libos):
    said = f"job.py, line 8: {name}: .*{libos}.*What works: .*confidential VM"
    with pytest.raises(InvalidImage, match=said):
        check(SQL + b"\n" + line.encode(), libos=libos)


FLINK = b"""
from pyflink.table import EnvironmentSettings, TableEnvironment
tables = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
tables.execute_sql("INSERT INTO out SELECT COUNT(*) FROM patients").wait()
"""


@pytest.mark.parametrize("libos", ["gramine", "occlum"])
def test_flinks_sql_runs(libos):
    check(FLINK, "flink", libos)


@pytest.mark.parametrize(
    "line",
    ["from pyflink.table.udf import udf", "class F(MapFunction): pass", "s.key_by(f)", "s.flat_map(f)"],
)
def test_flinks_python_functions_do_not_run_under_gramine(line):
    with pytest.raises(InvalidImage, match=r"line 6: .*under gramine: .*What works: SQL"):
        check(FLINK + b"\n" + line.encode(), "flink")
    check(FLINK + b"\n" + line.encode(), "flink", "occlum")


@pytest.mark.parametrize("libos", ["gramine", "occlum"])
def test_flinks_collected_results_cross_an_open_device(libos):
    with pytest.raises(InvalidImage, match=r"loopback device.*What works: a sink"):
        check(FLINK + b"\ns.execute_and_collect()", "flink", libos)


@pytest.mark.parametrize("line", ["import multiprocessing", "from multiprocessing.pool import Pool"])
@pytest.mark.parametrize("libos", ["gramine", "occlum"])
def test_pools_of_processes_run_under_neither(line, libos):
    with pytest.raises(InvalidImage, match="multiprocessing"):
        check(line.encode(), "python", libos)


def test_another_profiles_names_are_ones_own():
    check(b"rdd = 1; udf = rdd", "python")


def test_the_documents_table_says_the_same():
    text = (Path(__file__).parents[3] / "docs" / "enclaves.md").read_text()
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    for feature in FEATURES:
        (row,) = [cells for cells in rows if cells[0].startswith(feature.name)]
        for column, libos in ((1, "gramine"), (2, "occlum")):
            assert (row[column] == "no: refused when built") == (libos in feature.not_under), (
                feature.name,
                libos,
            )
