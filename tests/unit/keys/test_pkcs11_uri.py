"""PKCS#11 URIs name exactly one key, and never a PIN."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import pkcs11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.errors import MissingDependency, Misuse, ProviderRefused, ProviderUnavailable, WrongPassphrase
from confide.keys.pkcs11 import translated
from confide.keys.pkcs11_uri import Pkcs11Uri
from confide.keys.provider import open_provider

MODULE = "module-path=/usr/lib/x.so"


def test_every_attribute():
    uri = (
        "pkcs11:token=a%20b;serial=0F;manufacturer=M;model=v2;object=root;id=%00%ff;type=secret-key?" + MODULE
    )
    assert Pkcs11Uri.parse(uri) == Pkcs11Uri(Path("/usr/lib/x.so"), "a b", "0F", "M", "v2", "root", b"\0\xff")


@pytest.mark.parametrize(
    "rest", ["token=a;object=b", "serial=1;id=%01", "object=b;token=a", "token=%C3%A9;object=b"]
)
def test_enough_to_name_a_key(rest):
    assert Pkcs11Uri.parse(f"pkcs11:{rest}?{MODULE}").module == Path("/usr/lib/x.so")


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:",
        "pkcs11:token=a",
        f"pkcs11:token=a?{MODULE}",
        f"pkcs11:object=b?{MODULE}",
        "pkcs11:token=a;object=b",
        "pkcs11:token=a;object=b?module-path=x.so",
        "pkcs11:token=a;object=b?module-name=softhsm",
        f"pkcs11:token=a;object=b;type=private?{MODULE}",
        f"pkcs11:token=a;token=b;object=b?{MODULE}",
        f"pkcs11:token=;object=b?{MODULE}",
        f"pkcs11:token;object=b?{MODULE}",
        f"pkcs11:token=a;object=b;slot-id=3?{MODULE}",
        f"pkcs11:token=a;object=b;x-vendor=3?{MODULE}",
        f"pkcs11:token=a;object=b;?{MODULE}",
        f"pkcs11:token=a b;object=b?{MODULE}",
        f"pkcs11:token=%zz;object=b?{MODULE}",
        f"pkcs11:token=%ff;object=b?{MODULE}",
        f"pkcs11:token=%00;object=b?{MODULE}",
        f"pkcs11:token=a;object=b?{MODULE}&{MODULE}",
        f"PKCS11:token=a;object=b?{MODULE}",
        "pkcs11:token=a;object=b?module-path=/x%00.so",
    ],
)
def test_what_could_name_another_key_is_refused(uri):
    with pytest.raises(Misuse):
        Pkcs11Uri.parse(uri)


@pytest.mark.parametrize(
    "uri",
    [
        f"pkcs11:token=a;object=b?pin-value=4711&{MODULE}",
        f"pkcs11:token=a;object=b?{MODULE}&pin-source=file:/pin",
        f"pkcs11:token=a;object=b;pin-value=4711?{MODULE}",
    ],
)
def test_a_pin_in_the_uri_is_refused_and_not_repeated(uri):
    with pytest.raises(Misuse, match="passphrase-fd") as refused:
        Pkcs11Uri.parse(uri)
    assert "4711" not in str(refused.value)


@given(st.text())
def test_any_text_is_parsed_or_refused(text):
    with contextlib.suppress(Misuse):
        Pkcs11Uri.parse(f"pkcs11:{text}?{MODULE}")


def test_without_a_pin():
    with pytest.raises(Misuse, match="PIN"):
        open_provider(f"pkcs11:token=a;object=b?{MODULE}", {})


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(MissingDependency, match=r"confide\[pkcs11\]"):
        open_provider(f"pkcs11:token=a;object=b?{MODULE}", {"PIN": b"1234"})


@pytest.mark.parametrize(
    ("answer", "error", "word"),
    [
        (pkcs11.PinIncorrect(), WrongPassphrase, "refuses the PIN"),
        (pkcs11.PinLenRange(), WrongPassphrase, "refuses the PIN"),
        (pkcs11.PinLocked(), ProviderRefused, "locked"),
        (pkcs11.PinExpired(), ProviderRefused, "expired"),
        (pkcs11.UserPinNotInitialized(), ProviderRefused, "no user PIN"),
        (pkcs11.MechanismInvalid(), ProviderRefused, "does not do this"),
        (pkcs11.DeviceRemoved(), ProviderUnavailable, "DeviceRemoved"),
        (pkcs11.PKCS11Error("Unmapped error code"), ProviderUnavailable, "Unmapped"),
    ],
)
def test_what_tokens_answer(answer, error, word):
    """SoftHSM locks and expires no PIN: what such tokens answer is said in our words all the same."""
    uri = Pkcs11Uri.parse(f"pkcs11:token=a;object=b?{MODULE}")
    said = translated(answer, uri, None)
    assert type(said) is error
    assert word in str(said)
