"""Sealed collectives between real processes: the results of plain gloo, under DDP and FSDP too."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.torch, pytest.mark.timeout(240)]


def _results(ended):
    for one in ended:
        assert one.code == 0, one.errors
    return [one.result for one in ended]


@pytest.mark.parametrize("ranks", [2, 3])
def test_every_collective_gives_what_gloo_gives(run_ranks, ranks):
    assert _results(run_ranks("collectives", ranks)) == [34] * ranks


def test_objects(run_ranks):
    assert _results(run_ranks("objects")) == [
        [0, [0, 1], "for 0", [0, 1]],
        [0, [0, 1], "for 1", None],
    ]


@pytest.mark.parametrize("ranks", [2, 3])
def test_messages_between_two_ranks(run_ranks, ranks):
    expected = [[[0.0, 1.0, 2.0]] * 2, True, list(range(1, ranks))]
    assert _results(run_ranks("messages", ranks)) == [expected] * ranks


def test_groups_within_a_job(run_ranks):
    # 0 and 2 sum to 2 among themselves; then 2 + 1 + 2.
    assert _results(run_ranks("groups", 3)) == [[5.0, 5.0, 5.0]] * 3


def test_ddp_computes_what_it_computes_over_gloo(run_ranks):
    for plain, sealed in _results(run_ranks("ddp")):
        assert sealed == plain


def test_fsdp_computes_what_it_computes_over_gloo(run_ranks):
    for newer, older, sealed_newer, sealed_older in _results(run_ranks("fsdp")):
        assert sealed_newer == pytest.approx(newer, rel=1e-5)
        assert sealed_older == pytest.approx(older, rel=1e-5)


def test_mixed_precision_computes_what_it_computes_over_gloo(run_ranks):
    for ddp, fsdp, sealed_ddp, sealed_fsdp in _results(run_ranks("mixed_precision")):
        assert sealed_ddp == ddp
        assert sealed_fsdp == pytest.approx(fsdp, rel=1e-2)
