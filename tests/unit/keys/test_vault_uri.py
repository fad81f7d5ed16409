"""URIs of transit keys: https, one key, no secret in them."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.errors import Misuse, WrongPassphrase
from confide.keys.provider import open_provider
from confide.keys.vault import SECRET, VaultUri

GOOD = "vault://vault.example:8200/transit/confide"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        (GOOD, VaultUri("https://vault.example:8200", "transit", "confide", None, None)),
        ("vault://v/transit/k", VaultUri("https://v:8200", "transit", "k", None, None)),
        ("vault://[::1]:1/ns/transit/k", VaultUri("https://[::1]:1", "ns/transit", "k", None, None)),
        ("vault://v/transit/k?ca=/ca.pem&role=1-2", VaultUri("https://v:8200", "transit", "k", Path("/ca.pem"), "1-2")),
    ],
)  # fmt: skip
def test_what_a_uri_says(uri, expected):
    assert VaultUri.parse(uri) == expected


@pytest.mark.parametrize(
    "uri",
    [
        "vault:",
        "vault://",
        "vault://host",
        "vault://host/key",
        "vault://host//key",
        "vault://host/transit/",
        "vault://host/transit/../sys/seal",
        "vault://host/transit/%2e%2e/x",
        "vault://host/transit/a?b",
        "vault://host/transit/k#f",
        "vault://host/transit/k?ca=ca.pem",
        "vault://host/transit/k?ca=/a&ca=/b",
        "vault://host/transit/k?insecure=1",
        "vault://host/transit/k?role=a b",
        "vault://host/transit/k?role=",
        "vault://host:x/transit/k",
        "vault://host:99999/transit/k",
        "vault://[::1/transit/k",
        "https://host/transit/k",
    ],
)
def test_anything_else_is_refused(uri):
    with pytest.raises(Misuse):
        VaultUri.parse(uri)


@pytest.mark.parametrize("uri", ["vault://s.secret@host/transit/k", "vault://u:s.secret@host/transit/k"])
def test_a_token_in_the_uri_is_refused_and_not_repeated(uri):
    with pytest.raises(Misuse, match="no token") as refused:
        VaultUri.parse(uri)
    assert "secret" not in str(refused.value)


@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    with contextlib.suppress(Misuse):
        VaultUri.parse(f"vault://{text}")


@pytest.mark.parametrize("token", [b"", b"a b", b"a\r\nX-Other: b", b"\xff", b"a\0", b"x" * 4097])
def test_what_is_no_token_is_refused_and_not_repeated(token):
    with pytest.raises(WrongPassphrase) as refused:
        open_provider(GOOD, {SECRET: token})
    assert "Other" not in str(refused.value)


def test_without_a_token():
    with pytest.raises(Misuse, match="token"):
        open_provider(GOOD, {})


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_authorities_that_cannot_be_read(tmp_path, content):
    if content is not None:
        (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(Misuse, match="authority"):
        open_provider(f"{GOOD}?ca={tmp_path}/ca.pem", {SECRET: b"t"})
