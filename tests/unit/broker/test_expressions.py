from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.broker.expressions import check_expression, matches


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a", "aa"),
        ("a", "a\n"),
        ("a|b", "ab"),
        ("^a$", "ba"),
        (".*", "a\nb"),
        ("[0-9]+", "\u0661"),
        (r"\d+", "\u0661"),
        ("a", "A"),
    ],
)
def test_no_match(expression, value):
    assert not matches(expression, value)


@pytest.mark.parametrize(
    "text", ["(", "[a", "*", "a{3,2}", r"(a)\1", "(?=a)", "(?<!a)b", "(?#", "(a{1000}){1000}", "\\"]
)
def test_no_expression(text):
    with pytest.raises(ValueError):
        check_expression(text)


def test_expressions_that_stop_a_backtracking_engine():
    for expression in ("(a+)+", "(a|a)*", "(.*)(.*)(.*)(.*)(.*)(.*)b", "(a?){100}a{100}c", "(a*)*b"):
        matches(check_expression(expression), "a" * 4096 + "!")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_an_escaped_text_matches_itself_alone(text):
    expression = re.escape(text)
    assert matches(expression, text)
    assert not matches(expression, text + "x")
