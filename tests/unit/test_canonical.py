"""Canonical JSON against the reference implementation of RFC 8785, also where ours takes the short way."""

from __future__ import annotations

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from confide.canonical import canonical_json

_TEXT = st.text() | st.text('"\\/\b\f\n\r\t\x00\x1f\x7f\x80\u2028\ue000\U00010000', max_size=8)
_NAMES = st.text('abAB_-.\x00\x7f"', max_size=4) | _TEXT
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | _TEXT
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(_NAMES, inner, max_size=4),
)


def _outcome(encode, value):
    try:
        return encode(value)
    except ValueError:
        return None


@given(_VALUES)
def test_same_bytes_or_same_refusal(value):
    assert _outcome(canonical_json, value) == _outcome(rfc8785.dumps, value)


@pytest.mark.parametrize(
    "value",
    [
        2**53,
        -(2**53),
        float("nan"),
        float("inf"),
        {1: "a"},
        {"a": 2**53},
        ["\ud800"],
        {"\ud800": 1},
        b"a",
        {"a"},
    ],
    ids=repr,
)
def test_what_json_cannot_carry(value):
    with pytest.raises(ValueError):
        canonical_json(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None]}, b'{"a":[true,null],"b":1}'),
        ({"\ufb33": 1, "\U0001f600": 2}, '{"\U0001f600":2,"\ufb33":1}'.encode()),  # sorted by UTF-16 units
        ('\u20ac\x0f\n"\\/', '"\u20ac\\u000f\\n\\"\\\\/"'.encode()),
        (1e21, b"1e+21"),
    ],
)
def test_examples(value, text):
    assert canonical_json(value) == text
