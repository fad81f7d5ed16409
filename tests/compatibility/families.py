"""What is run: families of programs, each one run on either side, with the data that they read and where they write."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyspark

from .resources import write_points, write_resources

OWN = Path(__file__).with_name("programs")
PYSPARK = Path(pyspark.__file__).parent
EXAMPLES = PYSPARK / "examples/src/main/python"
QUERIES = Path(__file__).parents[2] / "benchmarks/tpch/queries"
RESOURCES = "examples/src/main/resources"
TPCH = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")


@dataclass(frozen=True)
class Program:
    """One program.

    Attributes:
        name: in the table.
        path: where it lies.
        args: its arguments; `{port}` is that of a server of words.
        stream: it takes streams, which do not end by themselves.
    """

    name: str
    path: Path
    args: tuple[str, ...] = ()
    stream: bool = False


@dataclass(frozen=True)
class Family:
    """Programs that run one after the other.

    Attributes:
        title: in the table.
        programs: that are run.
        write_data: writes the data in clear into a folder.
        reads: location -> whether it is a table; files otherwise.
        tables: locations of tables that are written.
        files: locations of files that are written.
        beside: name -> folder that lies beside the programs.
        imports: modules of other distributions.
        not_run: name -> why it is not tried.
    """

    title: str
    programs: tuple[Program, ...]
    write_data: Callable[[Path], None]
    reads: Mapping[str, bool]
    tables: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    beside: Mapping[str, Path] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    not_run: Mapping[str, str] = field(default_factory=dict)


ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "kmeans.py": ("data/mllib/kmeans_data.txt", "2", "0.001"),
    "logistic_regression.py": (f"{RESOURCES}/points.txt", "3"),
    "pagerank.py": ("data/mllib/pagerank_data.txt", "3"),
    "sort.py": ("data/mllib/pagerank_data.txt",),
    "wordcount.py": (f"{RESOURCES}/people.txt",),
    "parquet_inputformat.py": (f"{RESOURCES}/users.parquet",),
    "avro_inputformat.py": (f"{RESOURCES}/users.avro",),
    "mllib/kmeans.py": ("data/mllib/kmeans_data.txt", "2"),
    "mllib/logistic_regression.py": (f"{RESOURCES}/labelled.txt", "3"),
    "mllib/word2vec.py": (f"{RESOURCES}/words.txt",),
    "mllib/gaussian_mixture_model.py": ("data/mllib/gmm_data.txt", "2"),
}
_WORDS = ("127.0.0.1", "{port}")
NEEDS = {
    "sql/jdbc.py": "needs a database",
    "mllib/streaming_linear_regression_example.py": "waits for new files",
    "streaming/hdfs_wordcount.py": "waits for new files",
    "sql/streaming/structured_kafka_wordcount.py": "needs Kafka",
    "sql/streaming/structured_blockchain_admission_control.py": "needs Delta's jar",
    "streaming/recoverable_network_wordcount.py": "appends to a file by Python's `open`, which sees no storage",
}
"""Example -> why it is not tried."""


def _examples(title: str, folder: str, *, args: tuple[str, ...] = (), stream: bool = False) -> Family:
    names = sorted(path.relative_to(EXAMPLES).as_posix() for path in (EXAMPLES / folder).glob("*.py"))
    names = [name for name in names if not name.endswith("__init__.py")]
    return Family(
        title,
        tuple(
            Program(name, EXAMPLES / name, ARGUMENTS.get(name, args), stream)
            for name in names
            if name not in NEEDS
        ),
        _examples_data,
        {"data": False, "examples": False},
        tables=("namesAndFavColors.parquet", "namesAndAges.parquet", "people.parquet"),
        files=("target", "output", "checkpoint", "spark-warehouse"),
        not_run={name: NEEDS[name] for name in names if name in NEEDS},
    )


def _examples_data(folder: Path) -> None:
    shutil.copytree(PYSPARK / "data", folder / "data", ignore=shutil.ignore_patterns("images"))
    write_resources(folder / RESOURCES)


def _points(folder: Path) -> None:
    (folder / "data").mkdir()
    write_points(folder / "data/points")


def _tpch(folder: Path) -> None:
    from benchmarks.tables import generated

    (folder / "tpch").mkdir()
    for name in TPCH:
        shutil.copyfile(generated(0.01) / f"{name}.parquet", folder / "tpch" / name)


FAMILIES: Mapping[str, Family] = {
    "core": _examples("PySpark's examples: RDDs", ""),
    "sql": _examples("PySpark's examples: SQL", "sql"),
    "ml": _examples("PySpark's examples: ML", "ml"),
    "mllib": _examples("PySpark's examples: MLlib on RDDs", "mllib"),
    "structured": _examples(
        "PySpark's examples: structured streams", "sql/streaming", args=_WORDS, stream=True
    ),
    "streams": _examples("PySpark's examples: streams of RDDs", "streaming", args=_WORDS, stream=True),
    "tpch": Family(
        "TPC-H, scale 0.01: all 22 queries",
        (Program("tpch.py", OWN / "tpch.py"),),
        _tpch,
        {f"tpch/{name}": True for name in TPCH},
        files=("out/nothing",),
        beside={"queries": QUERIES},
    ),
    "algorithms": Family(
        "15 algorithms of MLlib on a table, models saved and loaded",
        (Program("algorithms.py", OWN / "algorithms.py"),),
        _points,
        {"data/points": True},
        files=("out/models",),
    ),
    "pandas": Family(
        "Pandas API on Spark",
        (Program("pandas_on_spark.py", OWN / "pandas_on_spark.py"),),
        _points,
        {"data/points": True},
        tables=("out/sums",),
    ),
    "xgboost": Family(
        "XGBoost's estimators for Spark",
        (
            Program("xgboost_one.py", OWN / "xgboost_one.py"),
            Program("xgboost_two.py", OWN / "xgboost_two.py"),
        ),
        _points,
        {"data/points": True},
        files=("out/models",),
        imports=("sklearn", "xgboost"),
    ),
}
