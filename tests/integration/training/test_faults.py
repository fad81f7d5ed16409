"""What goes wrong among ranks stops the job, and the error says with whom and in what. Real processes, a real proxy."""

from __future__ import annotations

import pytest

KEY, OTHER_KEY = "11" * 32, "22" * 32
pytestmark = [pytest.mark.torch, pytest.mark.timeout(240)]


def _failed(ended) -> None:
    """Every rank ended with an error, and not one by a signal."""
    for one in ended:
        assert one.code == 1, (one.code, one.errors)
        assert KEY not in one.errors


def test_without_an_attack_the_way_through_the_proxy_works(run_ranks):
    assert [(one.code, one.result) for one in run_ranks("reduce_much", attack=["none"])] == [
        (0, 8.0),
        (0, 8.0),
    ]


@pytest.mark.parametrize("attack", ["alter", "replay", "reorder"])
def test_what_was_changed_on_the_way_stops_the_job(run_ranks, attack):
    ended = run_ranks("reduce_much", attack=[attack])
    _failed(ended)
    errors = "".join(one.errors for one in ended)
    assert "Tampered: rank " in errors
    assert "all-reduce 0: what came is not what that rank sealed for it" in errors


def test_a_rank_with_another_key_is_named(run_ranks):
    ended = run_ranks("groups", 3, keys=[KEY, OTHER_KEY, KEY])
    _failed(ended)
    for one in (ended[0], ended[2]):
        assert "Tampered: rank 1, rendezvous: it does not hold this job's key" in one.errors


def test_a_stranger_who_speaks_for_a_rank_in_the_store_is_refused(run_ranks, store):
    """Whoever reaches the store can write there what he likes."""
    store.set("0//cpu//nonce/1", b"\0" * 64)
    ended = run_ranks("groups", 3, absent=1)
    _failed(ended)
    assert all("Tampered: rank 1, rendezvous: " in one.errors for one in ended)


def test_ranks_that_do_not_do_the_same_stop(run_ranks):
    ended = run_ranks("differ")
    _failed(ended)
    assert any("that rank does something else now" in one.errors for one in ended)


def test_a_rank_that_ends_is_named(run_ranks):
    ended = run_ranks("die")
    assert [one.code for one in ended] == [1, 7]
    assert "Unavailable: rank 1, all-reduce 1: it is gone, or does not answer" in ended[0].errors


def test_a_nan_is_named_and_infinities_are_not(run_ranks):
    ended = run_ranks("bring_nan")
    assert [one.result for one in ended] == [42858, 42858]
    errors = "".join(one.errors for one in ended)
    assert "NaNWarning: rank 1 brings a NaN to all-reduce 0" in errors
    assert "rank 0 brings" not in errors
    assert "all-reduce 1" not in errors


def test_what_is_not_supported_is_said(run_ranks):
    for one in run_ranks("misuse"):
        assert one.code == 0, one.errors
        assert one.result[0].startswith("Misuse: no average of torch.bool")
        assert one.result[1].startswith("Misuse: no average of torch.int8")
        assert one.result[2].startswith("Misuse: the backend confide moves dense tensors on the CPU")
