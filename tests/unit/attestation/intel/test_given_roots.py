"""Roots given in the place of Intel's: one that is none is refused before dcap-qvl, which would abort, sees it."""

from __future__ import annotations

import pytest

from confide.attestation.intel.verify import verify_quote
from confide.errors import EvidenceRefused

from .synthetic import NOW, Authority, Machine

_COMMON_NAME = b"\x06\x03\x55\x04\x03"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x22", "not a valid X509 version"),
        (_COMMON_NAME + b"\x0c", _COMMON_NAME + b"\x13", "not its own issuer"),
        (_COMMON_NAME + b"\x0c", _COMMON_NAME + b"\x41", "parsing"),
        (b"Intel SGX Root CA", b"Intel SGX Root CB", "not its own issuer"),
    ],
    ids=["version", "issuer as another kind of text", "issuer as no text", "issuer"],
)
def test_a_root_that_is_none(old, new, reason):
    authority = Authority()
    root = authority.root_der.replace(old, new, 1)  # the issuer stands before the subject
    assert root != authority.root_der
    with pytest.raises(EvidenceRefused, match=reason) as caught:
        verify_quote(Machine(authority).quote(), authority.collateral(), NOW, root_der=root)
    assert caught.value.step == 1
