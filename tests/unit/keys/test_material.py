"""Named keys wrap data keys; nothing but the same key, version and context unwraps them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.errors import RevokedKey, Tampered, UnknownKey
from confide.keys.material import Keyset, NamedKey, unwrap_with, wrap_with
from confide.keys.names import KeyName, KeyVersion

NAME = KeyName("clinic", "patients")
OTHER = KeyName("bank", "patients")
ONE, TWO = b"\1" * 32, b"\2" * 32


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_what_was_wrapped_unwraps(plaintext, context):
    assert unwrap_with(ONE, wrap_with(ONE, plaintext, context), context) == plaintext


@given(st.binary(min_size=32, max_size=32), st.integers(min_value=0), st.integers(0, 7))
def test_any_flipped_bit_is_refused(plaintext, position, bit):
    wrapped = bytearray(wrap_with(ONE, plaintext, b"context"))
    wrapped[position % len(wrapped)] ^= 1 << bit
    with pytest.raises(Tampered):
        unwrap_with(ONE, bytes(wrapped), b"context")


@pytest.mark.parametrize("length", [0, 1, 27])
def test_too_short_is_refused(length):
    with pytest.raises(Tampered):
        unwrap_with(ONE, b"\0" * length, b"")


def test_another_secret_or_context_is_refused():
    wrapped = wrap_with(ONE, b"data key", b"a")
    with pytest.raises(Tampered):
        unwrap_with(TWO, wrapped, b"a")
    with pytest.raises(Tampered):
        unwrap_with(ONE, wrapped, b"b")


def test_wrapping_twice_gives_different_bytes():
    assert wrap_with(ONE, b"x", b"") != wrap_with(ONE, b"x", b"")


def test_old_versions_read_and_the_current_one_writes():
    old = NamedKey(NAME, 1, {1: ONE})
    version, wrapped = old.wrap(b"data key", b"c")
    rotated = NamedKey(NAME, 2, {1: ONE, 2: TWO})
    assert rotated.unwrap(version, wrapped, b"c") == b"data key"
    assert rotated.wrap(b"data key", b"c")[0] == KeyVersion(NAME, 2)


def test_a_revoked_version_does_not_unwrap():
    version, wrapped = NamedKey(NAME, 1, {1: ONE}).wrap(b"data key", b"c")
    with pytest.raises(RevokedKey):
        NamedKey(NAME, 2, {2: TWO}, frozenset({1})).unwrap(version, wrapped, b"c")


@pytest.mark.parametrize("key", [NamedKey(NAME, None, {}), NamedKey(NAME, 1, {}, frozenset({1}))])
def test_a_revoked_key_does_not_wrap(key):
    with pytest.raises(RevokedKey):
        key.wrap(b"data key", b"c")


def test_an_unknown_version_and_another_keys_version_are_refused():
    key = NamedKey(NAME, 1, {1: ONE})
    for version in (KeyVersion(NAME, 9), KeyVersion(OTHER, 1)):
        with pytest.raises(UnknownKey):
            key.unwrap(version, b"\0" * 60, b"c")


def test_a_keyset_holds_only_what_it_was_given():
    keyset = Keyset({NAME: NamedKey(NAME, 1, {1: ONE})})
    with pytest.raises(UnknownKey):
        keyset.wrap(OTHER, b"x", b"")


def test_repr_shows_no_secret():
    key = NamedKey(NAME, 1, {1: b"SECRETSECRETSECRETSECRETSECRETSE"})
    for text in (repr(key), str(key), repr(Keyset({NAME: key}))):
        assert "SECRET" not in text
