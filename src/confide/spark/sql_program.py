"""A program that is a file of SQL: its statements, one after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from confide.errors import LaunchRefused

MAX_ROWS_SHOWN = 1000


def run(program: Path, arguments: Sequence[str]) -> None:
    """Run the statements; print what those return that return something.

    Spark splits the text into statements. An argument `--name=value` is the parameter `:name` of every statement: a
    text, never a part of the SQL.

    Raises:
        LaunchRefused: an argument of another form.
    """
    from pyspark.sql import SparkSession

    parameters = _parameters(arguments)
    spark = SparkSession.builder.getOrCreate()
    split = spark._jvm.org.apache.spark.sql.catalyst.util.StringUtils.splitSemiColon  # type: ignore[union-attr]
    for statement in split(program.read_text(encoding="utf-8"), True).mkString("\0").split("\0"):
        if not statement.strip():
            continue
        result = spark.sql(statement, args=parameters or None)
        if result.columns:
            result.show(MAX_ROWS_SHOWN, truncate=False)
    spark.stop()


def _parameters(arguments: Sequence[str]) -> dict[str, str]:
    parameters = {}
    for argument in arguments:
        name, separator, value = argument.partition("=")
        if not separator or not name.startswith("--"):
            raise LaunchRefused(
                f"argument {argument!r}: a file of SQL takes --name=value, its parameter :name"
            )
        parameters[name.removeprefix("--")] = value
    return parameters
