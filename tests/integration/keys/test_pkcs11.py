"""The key provider `pkcs11:` on a real token, SoftHSM."""

from __future__ import annotations

import pytest

from confide.errors import Misuse, ProviderRefused, ProviderUnavailable, Tampered, WrongPassphrase
from confide.keys.provider import open_provider

from .conftest import PIN


@pytest.fixture(scope="module")
def provider(softhsm):
    return open_provider(softhsm.uri(), {"PIN": PIN.encode()})


def test_what_the_token_wrapped_it_unwraps(provider, softhsm):
    wrapped = provider.wrap(b"secret", b"context")
    again = open_provider(softhsm.uri(), {"PIN": PIN.encode()})
    assert again.unwrap(wrapped, b"context") == b"secret"
    assert len(wrapped) == 12 + len(b"secret") + 16
    assert provider.wrap(b"secret", b"context") != wrapped


def test_any_changed_byte_or_another_context(provider):
    wrapped = provider.wrap(b"secret", b"context")
    for place in range(len(wrapped)):
        changed = wrapped[:place] + bytes([wrapped[place] ^ 1]) + wrapped[place + 1 :]
        with pytest.raises(Tampered):
            provider.unwrap(changed, b"context")
    for context in (b"", b"other", b"context "):
        with pytest.raises(Tampered):
            provider.unwrap(wrapped, context)
    for length in (0, 12, 27, len(wrapped) - 1):
        with pytest.raises(Tampered):
            provider.unwrap(wrapped[:length], b"context")


def test_another_key_of_the_token(provider, softhsm):
    softhsm.make("another")
    other = open_provider(softhsm.uri("object=another"), {"PIN": PIN.encode()})
    with pytest.raises(Tampered):
        other.unwrap(provider.wrap(b"secret", b"context"), b"context")


@pytest.mark.parametrize("pin", [b"000000", b"1234567", b"\xff\xfe", b"1" * 300])
def test_wrong_pin(softhsm, pin):
    with pytest.raises(WrongPassphrase) as refused:
        open_provider(softhsm.uri(), {"PIN": pin})
    assert pin.decode("utf-8", "replace") not in str(refused.value)
    open_provider(softhsm.uri(), {"PIN": PIN.encode()})  # and the right one still serves


def test_no_such_key(softhsm):
    with pytest.raises(ProviderRefused, match="0 secret keys"):
        open_provider(softhsm.uri("object=absent"), {"PIN": PIN.encode()})


def test_two_such_keys(softhsm):
    softhsm.make("twice")
    softhsm.make("twice")
    with pytest.raises(ProviderRefused, match="2 secret keys"):
        open_provider(softhsm.uri("object=twice"), {"PIN": PIN.encode()})


@pytest.mark.parametrize(
    ("label", "how", "word"),
    [
        ("short", {"bits": 128}, "256 bits"),
        ("generic", {"kind": "GENERIC_SECRET"}, "not an AES key"),
        ("extractable", {"extractable": True}, "can leave its token"),
        ("readable", {"sensitive": False}, "can leave its token"),
        ("no-decrypt", {"decrypt": False}, "may not encrypt and decrypt"),
        ("no-encrypt", {"encrypt": False}, "may not encrypt and decrypt"),
    ],
)
def test_a_key_that_does_not_suit(softhsm, label, how, word):
    softhsm.make(label, **how)
    with pytest.raises(ProviderRefused, match=word):
        open_provider(softhsm.uri(f"object={label}"), {"PIN": PIN.encode()})


@pytest.mark.parametrize(
    "other", ["token=absent", "serial=ffff", "token=confide;model=other", "manufacturer=x;token=confide"]
)
def test_no_such_token(softhsm, other):
    uri = f"pkcs11:{other};object=root?module-path={softhsm.module}"
    with pytest.raises(ProviderUnavailable, match="confide"):
        open_provider(uri, {"PIN": PIN.encode()})


def test_a_token_without_the_key(softhsm):
    uri = f"pkcs11:token=empty;object=root?module-path={softhsm.module}"
    with pytest.raises(ProviderRefused, match="0 secret keys"):
        open_provider(uri, {"PIN": PIN.encode()})


@pytest.mark.parametrize("module", ["/nonexistent.so", "/etc/passwd", "/"])
def test_a_module_that_is_none(softhsm, module):
    with pytest.raises(ProviderUnavailable, match="cannot load"):
        open_provider(f"pkcs11:token=confide;object=root?module-path={module}", {"PIN": PIN.encode()})


def test_repr_shows_no_pin(provider):
    assert PIN not in repr(provider)


def test_no_pin(softhsm):
    with pytest.raises(Misuse, match="PIN"):
        open_provider(softhsm.uri(), {})
