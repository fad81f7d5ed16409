"""Statistics of interleaved runs: ratios of medians, their geometric mean, bootstrap intervals.

Runs are paired: run i of one side directly follows run i of the other, so that both saw the same machine. The
bootstrap (Efron, 1979; percentile method) draws whole pairs with replacement. With five pairs its intervals are
coarse; they say how far the runs agreed, no more.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

RESAMPLES = 10_000
T = TypeVar("T")


class Interval(NamedTuple):
    """A 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """The same quantity of two sides, one value for each run.

    Attributes:
        base: of the peer, which ratios are relative to.
        other: of what is judged.
    """

    base: tuple[float, ...]
    other: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.base or len(self.base) != len(self.other):
            raise ValueError(f"{len(self.base)} and {len(self.other)} runs: not the same positive number")
        if min(*self.base, *self.other) <= 0:
            raise ValueError("a ratio needs positive values")

    @property
    def runs(self) -> int:
        """Number of pairs."""
        return len(self.base)

    def ratio(self, pairs: Sequence[int] | None = None) -> float:
        """Return median(other) / median(base), over all pairs or the ones given."""
        chosen = range(self.runs) if pairs is None else pairs
        base, other = ([side[i] for i in chosen] for side in (self.base, self.other))
        return statistics.median(other) / statistics.median(base)

    def interval(self) -> Interval:
        """Return the bootstrap interval of `ratio`."""
        return bootstrap(self.ratio, self.runs)


def mean_ratio(comparisons: Sequence[Comparison], pairs: Sequence[int] | None = None) -> float:
    """Return the geometric mean of the comparisons' ratios, over all pairs or the ones given."""
    return statistics.geometric_mean([comparison.ratio(pairs) for comparison in comparisons])


def mean_ratio_interval(comparisons: Sequence[Comparison]) -> Interval:
    """Return the bootstrap interval of `mean_ratio`; a drawn pair counts for every comparison at once.

    Raises:
        ValueError: the comparisons have different numbers of runs.
    """
    (runs,) = {comparison.runs for comparison in comparisons}
    return bootstrap(lambda pairs: mean_ratio(comparisons, pairs), runs)


def bootstrap(statistic: Callable[[Sequence[int]], float], runs: int, seed: int = 1) -> Interval:
    """Return the 95 % percentile interval of a statistic.

    Args:
        statistic: takes indices of runs, some of them repeated.
        runs: how many there are; each resample draws as many.
        seed: the same seed gives the same interval.
    """
    draw = random.Random(seed)
    values = sorted(statistic(draw.choices(range(runs), k=runs)) for _ in range(RESAMPLES))
    return Interval(values[round(0.025 * (RESAMPLES - 1))], values[round(0.975 * (RESAMPLES - 1))])


def bootstrap_median(values: Sequence[float]) -> Interval:
    """Return the 95 % interval of the median of one value per run."""
    return bootstrap(lambda chosen: statistics.median(values[i] for i in chosen), len(values))


def interleave(runs: int, sides: Mapping[str, Callable[[], T]]) -> dict[str, list[T]]:
    """Run the sides in turn, A B A B ..., and return each side's results in order."""
    results: dict[str, list[T]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            results[name].append(side())
    return results


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least `share` (0 to 1) of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-len(ordered) * share // 1)  # ceiling
    return ordered[max(0, int(rank) - 1)]
