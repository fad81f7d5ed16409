"""The key provider `vault:` on a real server, OpenBao."""

from __future__ import annotations

import ssl
import time

import pytest

from confide.errors import ProviderRefused, ProviderUnavailable, Tampered, WrongPassphrase
from confide.keys.provider import open_provider
from confide.keys.vault import SECRET

from .conftest import Misbehaving, authority, free_port, pem


def opened(uri: str, token: bytes):
    return open_provider(uri, {SECRET: token})


@pytest.fixture(scope="module")
def provider(bao):
    return opened(bao.uri(), bao.token("broker"))


def test_what_it_wrapped_it_unwraps(provider, bao):
    wrapped = provider.wrap(b"\0secret\xff", b"context")
    assert b"secret" not in wrapped
    assert opened(bao.uri(), bao.token("decrypt-only")).unwrap(wrapped, b"context") == b"\0secret\xff"


def test_a_rotated_key_unwraps_what_the_older_version_wrapped(bao):
    bao.call("POST", "transit/keys/rotated", {"type": "chacha20-poly1305"})
    rotated = opened(bao.uri("rotated"), bao.token("all"))
    wrapped = rotated.wrap(b"secret", b"context")
    bao.call("POST", "transit/keys/rotated/rotate")
    assert rotated.unwrap(wrapped, b"context") == b"secret"
    assert rotated.wrap(b"secret", b"context").startswith(b"vault:v2:")
    bao.call("POST", "transit/keys/rotated/config", {"min_decryption_version": 2})
    with pytest.raises(ProviderRefused, match="too old"):
        rotated.unwrap(wrapped, b"context")


def test_another_context_or_changed_bytes(provider):
    wrapped = provider.wrap(b"secret", b"context")
    for context in (b"", b"other", b"context\0"):
        with pytest.raises(Tampered):
            provider.unwrap(wrapped, context)
    for place in range(len(wrapped)):
        changed = (
            wrapped[:place] + (b"A" if wrapped[place : place + 1] != b"A" else b"B") + wrapped[place + 1 :]
        )
        with pytest.raises(Tampered):
            provider.unwrap(changed, b"context")
    for other in (
        b"",
        b"vault:v1:",
        b"vault:v1:AAAA",
        wrapped[:-8],
        bytes(60),
        wrapped.replace(b"v1", b"v7"),
    ):
        with pytest.raises(Tampered):
            provider.unwrap(other, b"context")


def test_another_key_of_the_engine(provider, bao):
    bao.call("POST", "transit/keys/another", {"type": "aes256-gcm96"})
    with pytest.raises(Tampered):
        opened(bao.uri("another"), bao.token("all")).unwrap(provider.wrap(b"x", b"context"), b"context")


def test_a_missing_key_is_not_made_silently(bao):
    with pytest.raises(ProviderRefused, match="no key 'absent'"):
        opened(bao.uri("absent"), bao.root.encode()).wrap(b"x", b"c")
    with pytest.raises(ProviderRefused, match="no key 'absent'"):  # the first attempt did not make it
        opened(bao.uri("absent"), bao.root.encode()).wrap(b"x", b"c")


def test_a_missing_engine(bao):
    uri = bao.uri().replace("/transit/", "/elsewhere/")
    with pytest.raises(ProviderRefused):
        opened(uri, bao.root.encode()).wrap(b"x", b"c")
    with pytest.raises(ProviderRefused, match="no handler"):
        opened(uri, bao.root.encode()).unwrap(b"vault:v1:AAAA", b"c")


@pytest.mark.parametrize(
    ("made", "word"),
    [
        ({"type": "rsa-2048"}, "rsa-2048"),
        ({"type": "ed25519"}, "ed25519"),
        ({"type": "aes128-gcm96"}, "aes128-gcm96"),
        ({"type": "aes256-gcm96", "derived": True}, "derives keys"),
        ({"type": "aes256-gcm96", "exportable": True}, "can leave its server"),
        ({"type": "aes256-gcm96", "allow_plaintext_backup": True}, "can leave its server"),
    ],
)
def test_a_key_that_does_not_suit(bao, made, word):
    name = f"unsuited-{abs(hash(str(made)))}"
    bao.call("POST", f"transit/keys/{name}", made)
    with pytest.raises(ProviderRefused, match=word):
        opened(bao.uri(name), bao.token("all")).wrap(b"x", b"c")


def test_a_token_that_is_none(bao):
    with pytest.raises(ProviderRefused, match="denies") as refused:
        opened(bao.uri(), b"s.someone-elses-token").wrap(b"x", b"c")
    assert "someone-elses" not in str(refused.value)


def test_a_token_that_expired(bao, provider):
    short = opened(bao.uri(), bao.token("broker", ttl="1s"))
    wrapped = provider.wrap(b"x", b"c")
    with pytest.raises(ProviderRefused, match="expired"):
        _until_it_fails(lambda: short.unwrap(wrapped, b"c"))


def _until_it_fails(call, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        call()
        time.sleep(0.2)


def test_a_token_that_may_not(bao, provider):
    limited = opened(bao.uri(), bao.token("decrypt-only"))
    with pytest.raises(ProviderRefused, match="policy"):
        limited.wrap(b"x", b"c")
    assert limited.unwrap(provider.wrap(b"x", b"c"), b"c") == b"x"


def test_by_role_and_secret_id(bao, provider):
    role = bao.call("GET", "auth/approle/role/broker/role-id")["data"]["role_id"]
    secret = bao.call("POST", "auth/approle/role/broker/secret-id", {})["data"]["secret_id"]
    by_role = opened(bao.uri(role=role), secret.encode())
    assert by_role.unwrap(provider.wrap(b"x", b"c"), b"c") == b"x"
    for wrong_role, wrong in ((role, "no-such-secret"), ("no-such-role", secret)):
        with pytest.raises(WrongPassphrase) as refused:
            opened(bao.uri(role=wrong_role), wrong.encode())
        assert wrong not in str(refused.value)


def test_a_sealed_server(bao, provider):
    wrapped = provider.wrap(b"x", b"c")
    bao.call("PUT", "sys/seal")
    try:
        with pytest.raises(ProviderUnavailable, match="sealed"):
            provider.unwrap(wrapped, b"c")
    finally:
        bao.call("PUT", "sys/unseal", {"key": bao.unseal_key})
    assert provider.unwrap(wrapped, b"c") == b"x"


def test_a_server_that_is_not_there(bao):
    uri = f"vault://127.0.0.1:{free_port()}/transit/confide?ca={bao.ca}"
    with pytest.raises(ProviderUnavailable, match="ConnectError"):
        opened(uri, b"t").unwrap(b"vault:v1:AAAA", b"c")


def test_a_certificate_of_another_authority(bao, tmp_path):
    (tmp_path / "ca.pem").write_bytes(pem(authority("another")[1]))
    uri = bao.uri().replace(str(bao.ca), str(tmp_path / "ca.pem"))
    with pytest.raises(ProviderUnavailable, match="certificate is not accepted"):
        opened(uri, bao.root.encode()).unwrap(b"vault:v1:AAAA", b"c")


def test_the_systems_authorities_do_not_know_it(bao):
    with pytest.raises(ProviderUnavailable, match="certificate is not accepted"):
        opened(bao.uri().partition("?")[0], bao.root.encode()).unwrap(b"vault:v1:AAAA", b"c")


def test_a_certificate_for_another_name(bao):
    uri = bao.uri().replace("127.0.0.1", "localhost")
    with pytest.raises(ProviderUnavailable, match="certificate is not accepted"):
        opened(uri, bao.root.encode()).unwrap(b"vault:v1:AAAA", b"c")


def test_repr_shows_no_token(bao, provider):
    assert "s." not in repr(provider).replace(str(bao.ca), "")


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (200, b"", "without data"),
        (200, b"{", "JSON"),
        (200, b"[" * 60000, "JSON"),
        (200, b"[]", "without data"),
        (200, b'{"data": {}}', "no plaintext"),
        (200, b'{"data": {"plaintext": "!"}}', "no plaintext"),
        (200, b'{"data": {"plaintext": 1}}', "no plaintext"),
        (200, b" " * 70000, "more than"),
        (307, b"", "redirects"),
        (500, b'{"errors": ["oh"]}', "oh"),
        (429, b"slow down", "JSON"),
    ],
)
def test_a_server_that_misbehaves(bao, misbehaving, status, body, word):
    Misbehaving.answer = (status, body)
    uri = f"vault://127.0.0.1:{misbehaving.server_port}/transit/confide?ca={bao.ca}"
    with pytest.raises(ProviderUnavailable, match=word):
        opened(uri, b"t").unwrap(b"vault:v1:AAAA", b"c")


def test_a_server_below_tls_1_3(bao, misbehaving):
    misbehaving.tls.maximum_version = ssl.TLSVersion.TLSv1_2
    uri = f"vault://127.0.0.1:{misbehaving.server_port}/transit/confide?ca={bao.ca}"
    with pytest.raises(ProviderUnavailable, match=r"(?i)version|protocol"):
        opened(uri, b"t").unwrap(b"vault:v1:AAAA", b"c")
