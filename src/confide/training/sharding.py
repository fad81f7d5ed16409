"""Which rows of a table go to whom in an epoch, and in what order: pure, and the same wherever it is computed.

The row groups are put into one order. The rows in that order are one line, of which every shard gets a part without
a gap, sizes differing by one row at most; so a row group that lies on a border is read by both its neighbours.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from confide.canonical import sha256_hex


@dataclass(frozen=True)
class RowGroup:
    """A row group of a table.

    Attributes:
        file: number of its file.
        index: of the row group in the file.
        rows: how many it has.
    """

    file: int
    index: int
    rows: int


@dataclass(frozen=True)
class Part:
    """Rows of a row group: from `start` on, before `stop`."""

    group: RowGroup
    start: int
    stop: int


@dataclass(frozen=True)
class Shard:
    """Which of how many ranks, and which of how many workers of it."""

    rank: int = 0
    ranks: int = 1
    worker: int = 0
    workers: int = 1


def generator(*what: int) -> torch.Generator:
    """Return a source of random numbers that depends on these numbers alone."""
    text = "/".join(map(str, what)).encode()
    return torch.Generator().manual_seed(int(sha256_hex(text)[:15], 16))


def parts_of(
    groups: Sequence[RowGroup], shard: Shard, *, seed: int | None = None, epoch: int = 0, even: bool = False
) -> list[Part]:
    """Return what a shard reads, in its order.

    Args:
        groups: of the table.
        shard: whose part.
        seed: for the order of row groups; None: the table's own.
        epoch: makes another order of each epoch.
        even: every rank gets the same number of rows; up to `ranks - 1` rows at the end of the line go to nobody.
    """
    if seed is not None:
        groups = [groups[i] for i in torch.randperm(len(groups), generator=generator(seed, epoch)).tolist()]
    rows = sum(group.rows for group in groups)
    if even:
        rows -= rows % shard.ranks
    first, end = _share(0, rows, shard.rank, shard.ranks)
    first, end = _share(first, end, shard.worker, shard.workers)
    parts = []
    starts = itertools.accumulate((group.rows for group in groups), initial=0)
    for group, start in zip(groups, starts, strict=False):
        low, high = max(first, start), min(end, start + group.rows)
        if low < high:
            parts.append(Part(group, low - start, high - start))
    return parts


def _share(first: int, end: int, number: int, count: int) -> tuple[int, int]:
    return first + (end - first) * number // count, first + (end - first) * (number + 1) // count
