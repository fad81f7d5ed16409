import itertools
import os
import sys

import pytest

from confide.errors import MissingDependency
from confide.keys.recovery.shamir import combine, commit_to_root, commit_to_share, split

SET = "ab" * 16


@pytest.mark.exhaustive
@pytest.mark.parametrize(("threshold", "count"), [(2, 2), (2, 3), (3, 5), (5, 5), (2, 255), (255, 255)])
def test_as_many_as_the_threshold_give_it_back(threshold, count):
    secret = os.urandom(32)
    shares = split(secret, threshold, count)
    assert list(shares) == list(range(1, count + 1))
    last = dict(list(shares.items())[-threshold:])
    assert combine(last) == secret


def test_any_of_them_do():
    secret = os.urandom(32)
    shares = split(secret, 3, 5)
    for chosen in itertools.permutations(shares.items(), 3):
        assert combine(dict(chosen)) == secret


def test_fewer_do_not():
    secret = os.urandom(32)
    shares = split(secret, 3, 4)
    for chosen in itertools.combinations(shares.items(), 2):
        assert combine(dict(chosen)) != secret


def test_no_share_shows_a_part_of_the_secret():
    secret = bytes(32)
    for share in split(secret, 2, 20).values():
        assert share[:16] != share[16:]  # the halves have coefficients of their own
        assert bytes(8) not in share


def test_a_secret_is_never_shared_alike():
    assert split(bytes(32), 2, 2) != split(bytes(32), 2, 2)


def test_shares_of_another_place_give_another_secret():
    secret = os.urandom(32)
    shares = split(secret, 2, 3)
    assert combine({1: shares[2], 2: shares[1]}) != secret
    assert combine({1: shares[1], 3: shares[2]}) != secret


def test_one_bit_of_a_share_changes_the_secret():
    secret = os.urandom(32)
    shares = split(secret, 2, 2)
    for place in (0, 15, 16, 31):
        changed = bytearray(shares[1])
        changed[place] ^= 1
        assert combine({1: bytes(changed), 2: shares[2]}) != secret


def test_commitments_are_apart():
    value = os.urandom(32)
    commitments = [
        commit_to_root(SET, value),
        commit_to_root("cd" * 16, value),
        commit_to_root(SET, bytes(32)),
        commit_to_share(SET, 1, value),
        commit_to_share(SET, 2, value),
        commit_to_share("cd" * 16, 1, value),
        commit_to_share(SET, 1, bytes(32)),
    ]
    assert len(set(commitments)) == len(commitments)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "Crypto.Protocol.SecretSharing", None)
    with pytest.raises(MissingDependency, match=r"confide\[recovery\]"):
        split(bytes(32), 2, 2)
    with pytest.raises(MissingDependency):
        combine({1: bytes(32), 2: bytes(32)})
