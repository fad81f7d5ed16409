"""Tokens: what the owner prints is what the server takes."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from confide.broker.release import Release, ReleasedKey
from confide.errors import NoGrant, RevokedKey, UnknownKey
from confide.keys.material import NamedKey
from confide.keys.names import KeyName
from confide.spark.tokens import released_tokens, token

SECRETS = {1: bytes(32), 2: bytes([1]) * 32}
KEY = NamedKey(KeyName("clinic", "analysts"), 2, SECRETS)


def release(versions=(1, 2), requests="clinic/analysts"):
    secrets = {str(n): base64.b64encode(SECRETS[n]).decode() for n in versions}
    keys = {"clinic/analysts": ReleasedKey(current=2, versions=secrets)}
    return Release(
        workload="analysts", owners=("clinic",), keys=keys, grants=(), requests=requests, expires=2**40
    )


def hkdf(secret: bytes, info: bytes) -> str:
    """RFC 5869, by itself."""
    pseudorandom = hmac.digest(bytes(32), secret, hashlib.sha256)
    return hmac.digest(pseudorandom, info + b"\1", hashlib.sha256).hex()


def test_a_token_is_derived_as_documented():
    assert token(KEY, 2) == hkdf(SECRETS[2], b"confide/v1/spark/token")


def test_the_server_takes_the_token_of_each_live_version_the_newest_first():
    assert released_tokens(release()) == [token(KEY, 2), token(KEY, 1)]
    assert released_tokens(release(versions=(2,))) == [token(KEY, 2)]


def test_no_token_of_a_version_that_is_gone():
    with pytest.raises(UnknownKey):
        token(KEY, 3)
    with pytest.raises(RevokedKey):
        token(NamedKey(KEY.name, 2, {2: SECRETS[2]}, frozenset({1})), 1)


def test_a_policy_without_a_key_for_requests_starts_no_server():
    with pytest.raises(NoGrant, match="--requests"):
        released_tokens(release(requests=None))
