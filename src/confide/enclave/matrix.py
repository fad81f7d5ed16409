"""Which programs run under which library OS; the table of docs/enclaves.md, as data.

A program outside it is refused when its image is built, by what its text uses: the JVM under Gramine cannot start
processes of its own once it is busy, and Python's workers fork, so nothing of Spark that needs them runs in enclaves.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from confide.enclave.libos import GRAMINE, OCCLUM
from confide.errors import InvalidImage


@dataclass(frozen=True)
class Feature:
    """Something that a program may use.

    Attributes:
        name: for people.
        profile: whose programs.
        names: functions, methods and attributes that show its use.
        modules: modules whose import shows it.
        not_under: library OS -> why not.
        instead: what works.
    """

    name: str
    profile: str
    names: frozenset[str]
    not_under: dict[str, str]
    instead: str
    modules: frozenset[str] = frozenset()


_WORKERS = {
    GRAMINE: "the JVM would have to start Python workers when it is busy, and its fork fails under Gramine",
    OCCLUM: "PySpark forks its Python workers, and Occlum has no fork",
}
_ELSEWHERE = "SQL expressions (pyspark.sql.functions), or a confidential VM (--tee tdx, snp)"

FEATURES: tuple[Feature, ...] = (
    Feature(
        "Python functions",
        "spark",
        frozenset({"udf", "udtf", "UserDefinedFunction"}),
        _WORKERS,
        _ELSEWHERE,
    ),
    Feature(
        "pandas and Arrow functions",
        "spark",
        frozenset(
            {
                *("pandas_udf", "arrow_udf", "arrow_udtf", "mapInPandas", "mapInArrow", "applyInPandas"),
                *("applyInArrow", "applyInPandasWithState", "transformWithState"),
                *("transformWithStateInPandas", "foreachPartition"),
            }
        ),
        _WORKERS,
        _ELSEWHERE,
        frozenset({"pyspark.pandas"}),
    ),
    Feature("RDDs", "spark", frozenset({"rdd", "mapPartitions", "parallelize"}), _WORKERS, _ELSEWHERE),
    Feature(
        "Flink's Python functions",
        "flink",
        frozenset(
            {
                *("udf", "udtf", "udaf", "udtaf", "flat_map", "key_by"),
                *("MapFunction", "FlatMapFunction", "FilterFunction", "ReduceFunction", "ProcessFunction"),
                *("KeyedProcessFunction", "ProcessWindowFunction", "CoProcessFunction"),
            }
        ),
        {
            GRAMINE: "Flink's JVM asks a Python process where Python's library lies, and its fork fails under Gramine"
        },
        "SQL and the Table API with Flink's own functions, or a confidential VM (--tee tdx, snp)",
    ),
    Feature(
        "Flink's collected results",
        "flink",
        frozenset({"execute_and_collect", "to_pandas"}),
        dict.fromkeys(
            (GRAMINE, OCCLUM),
            "they cross the loopback device without TLS, which there is the host's to listen to",
        ),
        "a sink, or a confidential VM (--tee tdx, snp)",
    ),
    Feature(
        "pools of processes",
        "python",
        frozenset({"ProcessPoolExecutor"}),
        {
            GRAMINE: "Gramine has neither POSIX semaphores nor memory that processes share",
            OCCLUM: "Occlum has no fork",
        },
        "threads (n_jobs with joblib's threading backend), or a confidential VM (--tee tdx, snp)",
        frozenset({"multiprocessing"}),
    ),
)


@dataclass(frozen=True)
class Use:
    """A use of a feature: the line, and the name that shows it."""

    feature: Feature
    line: int
    name: str


def uses(source: bytes, profile: str) -> Iterator[Use]:
    """Yield what a program's text uses of the features.

    Raises:
        SyntaxError: it is not Python.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for name, is_module in _names(node):
            for feature in FEATURES:
                if feature.profile == profile and name in (feature.modules if is_module else feature.names):
                    yield Use(feature, getattr(node, "lineno", 0), name)


def check_program(sources: Iterable[tuple[str, bytes]], profile: str, libos: str) -> None:
    """Return if nothing in a program's text is outside of what the library OS can run.

    Args:
        sources: path and text of each of its modules.
        profile: of its image.
        libos: library OS.

    Raises:
        InvalidImage: names the line, the reason, and what works.
    """
    for path, source in sources:
        for use in uses(source, profile):
            if reason := use.feature.not_under.get(libos):
                raise InvalidImage(
                    f"{path}, line {use.line}: {use.name}: {use.feature.name} do not run under {libos}: {reason}. "
                    f"What works: {use.feature.instead}"
                )


def _names(node: ast.AST) -> Iterator[tuple[str, bool]]:
    match node:
        case ast.Attribute():
            yield node.attr, False
        case ast.Name():
            yield node.id, False
        case ast.Import():
            for alias in node.names:
                yield from _modules(alias.name)
        case ast.ImportFrom(module=str(module)):
            yield from _modules(module)
            for alias in node.names:
                yield alias.name, False
                yield from _modules(f"{module}.{alias.name}")


def _modules(name: str) -> Iterator[tuple[str, bool]]:
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count]), True
