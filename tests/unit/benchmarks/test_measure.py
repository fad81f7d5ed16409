"""Ratios, bootstrap intervals, interleaving."""

import math

import pytest
from benchmarks.measure import (
    Comparison,
    bootstrap,
    bootstrap_median,
    interleave,
    mean_ratio,
    mean_ratio_interval,
    percentile,
)
from hypothesis import given
from hypothesis import strategies as st

seconds = st.floats(min_value=0.01, max_value=1e4)
pairs = st.lists(st.tuples(seconds, seconds), min_size=1, max_size=7)


def comparison(*both):
    return Comparison(tuple(base for base, _ in both), tuple(other for _, other in both))


def test_ratio_is_of_medians():
    assert comparison((1, 2), (2, 6), (100, 5)).ratio() == 5 / 2


def test_ratio_of_chosen_pairs():
    assert comparison((1, 2), (2, 6), (100, 5)).ratio([0, 0, 0]) == 2


@pytest.mark.parametrize(
    ("base", "other"), [((), ()), ((1.0,), (1.0, 2.0)), ((0.0,), (1.0,)), ((1.0,), (-1.0,))]
)
def test_refuses_what_has_no_ratio(base, other):
    with pytest.raises(ValueError, match=r"runs|positive"):
        Comparison(base, other)


def test_equal_sides_have_no_spread():
    assert comparison((3, 3), (4, 4), (5, 5)).interval() == (1, 1)


def test_one_outlier_widens_the_interval_but_not_the_ratio():
    calm = comparison(*[(10, 11)] * 5)
    outlier = comparison(*[(10, 11)] * 4, (10, 30))
    assert outlier.ratio() == calm.ratio() == 1.1
    assert calm.interval() == (1.1, 1.1)
    assert outlier.interval().low == 1.1
    assert outlier.interval().high > 1.1


def test_geometric_mean():
    assert math.isclose(mean_ratio([comparison((1, 2)), comparison((1, 8))]), 4)


def test_mean_interval_draws_the_same_pairs_for_all():
    # The second undoes the first, run by run: whatever pairs are drawn, the mean stays 1.
    there, back = comparison((1, 2), (1, 2), (1, 4)), comparison((2, 1), (2, 1), (4, 1))
    low, high = mean_ratio_interval([there, back])
    assert math.isclose(low, 1)
    assert math.isclose(high, 1)


def test_mean_interval_refuses_different_numbers_of_runs():
    with pytest.raises(ValueError, match="too many values"):
        mean_ratio_interval([comparison((1, 1)), comparison((1, 1), (1, 1))])


@given(pairs)
def test_ratio_lies_in_the_range_of_its_values(both):
    compared = comparison(*both)
    assert min(compared.other) / max(compared.base) <= compared.ratio() * (1 + 1e-9)
    assert compared.ratio() <= max(compared.other) / min(compared.base) * (1 + 1e-9)


@pytest.mark.exhaustive
def test_bootstrap_is_repeatable_and_agrees_with_an_independent_one():
    import numpy
    from scipy import stats

    values = [9.1, 9.7, 10.0, 10.2, 11.9, 12.3, 9.4, 10.8]

    def mean(indices):
        return sum(values[i] for i in indices) / len(indices)

    ours = bootstrap(mean, len(values))
    assert ours == bootstrap(mean, len(values))
    oracle = stats.bootstrap((values,), numpy.mean, method="percentile", n_resamples=20_000, random_state=7)
    assert ours.low == pytest.approx(oracle.confidence_interval.low, abs=0.05)
    assert ours.high == pytest.approx(oracle.confidence_interval.high, abs=0.05)


def test_interval_of_a_median():
    assert bootstrap_median([4.0] * 5) == (4, 4)
    assert bootstrap_median([1.0, 2.0, 3.0, 4.0, 5.0]) == (1, 5)


def test_interleave_alternates():
    order = []
    results = interleave(3, {"a": lambda: order.append("a") or 1, "b": lambda: order.append("b") or 2})
    assert order == ["a", "b", "a", "b", "a", "b"]
    assert results == {"a": [1, 1, 1], "b": [2, 2, 2]}


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.0, 1), (0.001, 1), (0.505, 51)]
)
def test_percentile(share, expected):
    assert percentile(range(1, 101), share) == expected
