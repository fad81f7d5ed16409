"""Quotation marks of CSV files: what RFC 4180 allows passes, whatever the file is cut into; nothing else does."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.data.csv_quotes import Quotes

GOOD = [b"", b'""', b'"a"', b'a,b\n"x","y"\n', b'"a""b"', b'a"b,c\n', b'5"2,"x"\r\n', b'"",""\n', b'"a\nb",c']
BAD = [b'"x"y', b'a\n"x"y,z\n', b'""x', b'"x" ,y\n', b'"x', b'a,"b\n', b'"a""']
SIZES = [1, 2, 3, 100]


def check(data, size, delimiter=","):
    quotes = Quotes(delimiter)
    for start in range(0, len(data), size):
        quotes.take(data[start : start + size])
    quotes.take(b"")
    return quotes


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("data", [*GOOD, b'"a\n""\n""",x\n', b'a""b\n'])
def test_well_formed(data, size):
    check(data, size)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("data", BAD)
def test_out_of_place(data, size):
    with pytest.raises(ValueError, match="out of place"):
        check(data, size)


def test_byte_order_mark_comes_before_the_first_cell():
    check(b'\xef\xbb\xbf"a",b', 100)
    with pytest.raises(ValueError, match="out of place"):
        check(b'\xef\xbb\xbf"a"b', 100)


def test_another_delimiter():
    check(b'"a"|"b"', 2, "|")
    with pytest.raises(ValueError, match="out of place"):
        check(b'"a"|"b"', 2)


def test_line_of_the_fault():
    quotes = Quotes(",")
    quotes.take(b'a,b\n"x","y')
    assert quotes.take(b'"\n"x"y,z\n') == len(b'"x"y,z\n')
    with pytest.raises(ValueError, match="out of place"):
        quotes.take(b"")
    assert quotes.line == 3


@given(st.lists(st.lists(st.text(), min_size=1), min_size=1), st.integers(1, 40))
def test_whatever_a_csv_writer_writes(rows, size):
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerows(rows)
    check(text.getvalue().encode(errors="replace"), size)
