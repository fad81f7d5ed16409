"""Names of keys parse strictly."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.errors import Misuse
from confide.keys.names import KeyName, KeyVersion, parse_owner


@pytest.mark.parametrize("text", ["clinic/patients", "a/b", "0/9", "my.clinic/x_y-z", f"{'a' * 64}/b"])
def test_good_names_round_trip(text):
    assert str(KeyName.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "a", "a/", "/b", "a/b/c", "A/b", "a b/c", "é/b", "a/b:1", "-a/b", "a-/b", "a/b\n", f"{'a' * 65}/b", "a//b"],
)  # fmt: skip
def test_bad_names_are_refused(text):
    with pytest.raises(Misuse):
        KeyName.parse(text)


@pytest.mark.parametrize(
    "text", ["a/b", "a/b:0", "a/b:01", "a/b:-1", "a/b:1x", "a/b:9999999999", "a/b:1@x", "a/b: 1"]
)
def test_bad_versions_are_refused(text):
    with pytest.raises(Misuse):
        KeyVersion.parse(text)


@given(st.integers(1, 999_999_999))
def test_versions_round_trip(version):
    assert KeyVersion.parse(f"a/b:{version}") == KeyVersion(KeyName("a", "b"), version)


@given(st.text())
def test_no_text_is_both_accepted_and_changed(text):
    with contextlib.suppress(Misuse):
        assert parse_owner(text) == text
