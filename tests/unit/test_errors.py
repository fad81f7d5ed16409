"""The error tree is what its docstring and docs/exit-codes.md say it is."""

import inspect
import re
from pathlib import Path

import pytest

from confide import errors
from confide.cli.hints import _HINTS, hint_for

DOCS = Path(__file__).parents[2] / "docs" / "exit-codes.md"
ALL = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, errors.ConfideError)]
LEAVES = [cls for cls in ALL if cls is not errors.ConfideError]


def test_every_error_is_of_one_of_three_kinds():
    for cls in LEAVES:
        kinds = [
            kind for kind in (errors.Refused, errors.Unavailable, errors.Misuse) if issubclass(cls, kind)
        ]
        assert len(kinds) == 1, cls


def test_exit_codes_are_unique():
    codes = [cls.exit_code for cls in LEAVES]
    assert len(codes) == len(set(codes))


def test_exit_codes_keep_away_from_signals_shells_and_usage():
    assert all(64 <= cls.exit_code <= 99 for cls in LEAVES)


@pytest.mark.parametrize("cls", LEAVES, ids=lambda cls: cls.__name__)
def test_the_docs_list_the_code(cls):
    assert f"| {cls.exit_code} | `{cls.__name__}` |" in DOCS.read_text(encoding="utf-8")


@pytest.mark.parametrize("cls", LEAVES, ids=lambda cls: cls.__name__)
def test_the_tree_in_the_docstring_shows_it(cls):
    tree = inspect.getdoc(errors) or ""
    if cls in (errors.Refused, errors.Unavailable):
        assert re.search(rf"── {cls.__name__}\b", tree)
    else:
        assert re.search(rf"── {cls.__name__}\s+{cls.exit_code}\b", tree)


@pytest.mark.parametrize("cls", LEAVES, ids=lambda cls: cls.__name__)
def test_the_public_sentence_says_little(cls):
    assert len(cls.public) < 50
    assert "'" not in cls.public


def test_hints_exist_only_for_errors_of_the_tree():
    assert all(cls in ALL for cls in _HINTS)


def test_the_nearest_hint_is_shown():
    assert hint_for(errors.FileChanged("x")) == _HINTS[errors.FileChanged]
    assert hint_for(errors.Tampered("x")) == _HINTS[errors.Tampered]
    assert hint_for(errors.ConfideError("x")) is None


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_an_error_that_another_process_told_by_its_name(cls):
    error = errors.told(cls.__name__, "so it said")
    assert type(error) is cls
    assert str(error) == "so it said"
    assert hint_for(error) == hint_for(cls.__new__(cls))


@pytest.mark.parametrize(
    "name", ["", "Exception", "told", "dataclass", "ConfideErrors", None, 7, ["Refused"]]
)
def test_what_is_no_error_of_the_tree(name):
    assert errors.told(name, "so it said") is None
