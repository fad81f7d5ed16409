import pytest

from confide.jvm.explanation import MAX_CHARS, explain

STACK = """An error occurred while calling o42.count.
: org.apache.spark.SparkException: [FAILED_READ_FILE.NO_HINT] Encountered error while reading file
 file:///work/data/t/part-0.parquet.  SQLSTATE: KD001
\tat org.apache.spark.sql.errors.QueryExecutionErrors$.cannotReadFilesError(QueryExecutionErrors.scala:915)
Caused by: {cause}
\tat java.base/java.lang.Thread.run(Thread.java:840)
"""


class Captured(Exception):
    """As PySpark's: Java's stack lies in an attribute."""

    def __init__(self, stack):
        super().__init__("[FAILED_READ_FILE.NO_HINT] Encountered error")
        self._stackTrace = stack


@pytest.mark.parametrize("make", [Exception, Captured])
@pytest.mark.parametrize(
    ("cause", "said"),
    [
        (
            "confide.ConfideException: FileMissing: file:/work/data/t/b.parquet",
            "FileMissing: file:/work/data/t/b.parquet",
        ),
        ("LaunchRefused: keys are used only under x", "LaunchRefused: keys are used only under x"),
        (
            "javax.crypto.AEADBadTagException: Tag mismatch",
            "FileChanged: does not authenticate: file:///work/data/t/part-0.parquet",
        ),
        (
            "org.apache.parquet.crypto.TagVerificationException: GCM tag check failed",
            "FileChanged: does not authenticate: file:///work/data/t/part-0.parquet",
        ),
        (
            "java.lang.RuntimeException: file:/work/data/a.csv is not a Parquet file. Expected magic number",
            "NoGrant: file:/work/data/a.csv is not Parquet, and lies in no location that is granted as a table",
        ),
        ("java.io.IOException: No space left on device", "StorageUnavailable: no space left"),
        ("java.lang.ArithmeticException: / by zero", None),
        ("mine.ConfideExceptions: FileMissing: x", None),
        ("confide.ConfideException: ", None),
    ],
)
def test_cause(make, cause, said):
    assert explain(make(STACK.replace("{cause}", cause))) == said


def test_the_innermost_of_ours_counts():
    text = "confide.ConfideException: Refused: outer\nCaused by: confide.ConfideException: FileChanged: inner"
    assert explain(ValueError(text)) == "FileChanged: inner"


def test_a_page_of_an_unknown_file():
    assert explain(ValueError("GCM tag check failed")) == "FileChanged: does not authenticate: a page"


def test_causes_are_followed_even_in_a_circle():
    inner, outer = ValueError("confide.ConfideException: NoGrant: /work/x"), KeyError("x")
    outer.__cause__, inner.__cause__ = inner, outer
    assert explain(outer) == "NoGrant: /work/x"


def test_length_is_bounded():
    assert len(explain(ValueError("confide.ConfideException: NoGrant: " + "x" * 10_000))) == MAX_CHARS


@pytest.mark.parametrize("error", [ValueError(), KeyboardInterrupt(), ValueError("FileMissing: x")])
def test_others_are_nothing_of_ours(error):
    assert explain(error) is None


LOOKS = {
    "delta": "[DATA_SOURCE_NOT_FOUND] Failed to find the data source: delta. Make sure the provider name is correct",
    "hudi": "[DATA_SOURCE_NOT_FOUND] Failed to find the data source: HUDI. Make sure the provider name is correct",
    "iceberg": "[CANNOT_LOAD_CATALOG.PLUGIN_CLASS_NOT_FOUND] Cannot load catalog 'c' with the plugin class "
    "'org.apache.iceberg.spark.SparkCatalog': cannot find the plugin class.",
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_table_format_says_what_to_use_instead(name):
    said = explain(ValueError(LOOKS[name]))
    assert said is not None
    assert said.startswith(f"LaunchRefused: {name} is refused: ")
    assert said.endswith("read.parquet(...), write.parquet(...)")


def test_a_table_format_by_its_path():
    said = explain(
        ValueError("The table or view `delta`.`/work/data/t` cannot be found. Verify the spelling")
    )
    assert said is not None
    assert said.startswith("LaunchRefused: delta is refused: ")


@pytest.mark.parametrize(
    "text",
    [
        "Failed to find the data source: jdbc7. Make sure the provider name is correct",
        "Failed to find the data source: deltas. Make sure the provider name is correct",
        "The table or view `delta`.`patients` cannot be found. Verify the spelling",
        "The table or view `mine`.`/work/delta` cannot be found. Verify the spelling",
        "Cannot load catalog 'delta' with the plugin class 'mine.Catalog': cannot find the plugin class.",
        "delta is not defined",
    ],
)
def test_what_is_no_table_format(text):
    assert explain(ValueError(text)) is None
