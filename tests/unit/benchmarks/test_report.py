"""Tables and bars."""

import pytest
from benchmarks.measure import Comparison
from benchmarks.report import Bar, Report, ratio, table


def test_table():
    assert table(["query", "s"], [["q01", "1.2"]]) == "| query | s |\n| --- | ---: |\n| q01 | 1.2 |"


def test_table_escapes_bars():
    assert "a/b" in table(["x"], [["a|b"]])


def test_table_refuses_a_short_row():
    with pytest.raises(ValueError, match="number of cells"):
        table(["a", "b"], [["1"]])


@pytest.mark.parametrize(
    ("measured", "at_least", "met"),
    [(1.0, False, True), (0.9, False, True), (1.1, False, False), (1.1, True, True), (0.9, True, False)],
)
def test_bar(measured, at_least, met):
    bar = Bar("ratio", measured, 1.0, at_least)
    assert bar.met is met
    assert ("missed" in bar.markdown()) is not met


def test_report():
    report = Report("title", (table(["a"], [["1"]]),), (Bar("r", 2, 1),), ("note",), {"values": [1]})
    assert report.markdown().startswith("### title\n\n| a |")
    assert report.document() == {
        "title": "title",
        "bars": [{"what": "r", "measured": 2, "limit": 1, "met": False}],
        "raw": {"values": [1]},
    }


def test_ratio_cell():
    assert ratio(Comparison((1.0, 1.0), (2.0, 2.0))) == "2.000 [2.000, 2.000]"
