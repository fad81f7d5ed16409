"""An encrypted table as a data set of PyTorch: streamed by row groups, sharded, shuffled; no plain copy is made."""

from __future__ import annotations

import contextlib
import itertools
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import IterableDataset, get_worker_info

from confide.errors import Misuse
from confide.training.rows import Rows, check_type, joined, to_rows
from confide.training.sharding import Part, RowGroup, Shard, generator, parts_of
from confide.training.sources import Source, describe, source_at

AHEAD = 8
"""Pieces of about 1 MiB that are read while earlier ones are used."""
_MIB = 1024 * 1024


class EncryptedTable(IterableDataset[Any]):  # type: ignore[misc]
    """Rows of a table, each a dictionary from column to value.

    Under `confide run` the program declares the table (`# stream = ["data/digits"]` in its `[tool.confide]` block) and
    reads the encrypted files; the agent unwraps their keys. Elsewhere the same program reads plain Parquet files there.
    Every epoch gives each row once, shared out among the ranks of `torch.distributed` and the workers of a
    `DataLoader`.

    Example::

        rows = EncryptedTable("data/digits", columns=["pixels", "digit"], seed=1)
        for epoch in range(10):
            rows.set_epoch(epoch)
            for batch in DataLoader(rows, batch_size=64, num_workers=2):
                train(batch["pixels"], batch["digit"])

    Args:
        location: of the table, as the policy names it.
        columns: to read; None: all whose key was released.
        seed: shuffles, by the order of row groups and a buffer; None: rows come as they lie there.
        batch_size: rows that come together, as a dictionary from column to a tensor with one dimension more (a list
            for text, bytes, and lists of any length); faster than if `DataLoader` puts single rows together. Give the
            loader `batch_size=None` then.
        even: each rank gets equally many rows, as DDP needs it; of an epoch, up to ranks - 1 rows are left out.
        buffer_mib: of the buffer in which rows are shuffled.
        rank: of this process; None: as `torch.distributed` has it, if it is initialized.
        ranks: how many there are; given with `rank`.

    Raises:
        NoGrant: the program does not declare the table, or the policy does not grant it.
        FileMissing, FileChanged, FileUnlisted, NotEncrypted: the table is not what was committed.
        Misuse: no column, or none of such a name, or one of a type that PyTorch has nothing for.

    Iterating raises what opening does, and Tampered where data does not authenticate, before any row of it.
    """

    def __init__(
        self,
        location: str,
        columns: Sequence[str] | None = None,
        *,
        seed: int | None = None,
        batch_size: int | None = None,
        even: bool = False,
        buffer_mib: int = 64,
        rank: int | None = None,
        ranks: int | None = None,
    ) -> None:
        super().__init__()
        if (rank is None) != (ranks is None) or (rank is not None and not 0 <= rank < (ranks or 0)):
            raise Misuse("rank and ranks are given together, and rank is less than ranks")
        if batch_size is not None and batch_size < 1:
            raise Misuse("a batch has at least one row")
        self._source = source_at(location)
        schema, files = describe(self._source)
        readable = [name for name in schema.names if self._source.readable(name)]
        self._columns = list(readable if columns is None else columns)
        if not self._columns:
            raise Misuse(
                f"{location}: no column to read; there are keys for: {', '.join(readable) or 'none'}"
            )
        for name in self._columns:
            if name not in readable:
                known = "its key was not released" if name in schema.names else "there is no such column"
                raise Misuse(f"{location}, column {name!r}: {known}")
            check_type(name, schema.field(name).type)
        self._groups = [
            RowGroup(file, index, rows)
            for file, groups in enumerate(files)
            for index, rows in enumerate(groups)
        ]
        self._seed, self._even, self._batch_size = seed, even, batch_size
        self._buffer_bytes = buffer_mib * _MIB
        self._place = None if rank is None else (rank, ranks or 1)
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers that stay see it change

    @property
    def rows(self) -> int:
        """Number of rows of the whole table."""
        return sum(group.rows for group in self._groups)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration, before it begins; all ranks choose the same."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        shard, epoch = self._shard(), int(self._epoch)
        parts = parts_of(self._groups, shard, seed=self._seed, epoch=epoch, even=self._even)
        with contextlib.closing(_read_ahead(self._source, parts, self._columns)) as read:
            rows: Iterable[Rows] = read
            if self._seed is not None:
                rows = _shuffled(
                    rows, generator(self._seed, epoch, shard.rank, shard.worker), self._buffer_bytes
                )
            if self._batch_size is None:
                for some in rows:
                    yield from some.each()
            else:
                for batch in _batches(rows, self._batch_size):
                    yield dict(batch.columns)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_place": self._ranks()}  # a worker that is not forked knows of no group

    def _ranks(self) -> tuple[int, int]:
        if self._place is not None:
            return self._place
        if dist.is_available() and dist.is_initialized():
            return dist.get_rank(), dist.get_world_size()
        return 0, 1

    def _shard(self) -> Shard:
        rank, ranks = self._ranks()
        worker = get_worker_info()
        return Shard(rank, ranks, worker.id, worker.num_workers) if worker else Shard(rank, ranks)


def _read_ahead(source: Source, parts: Iterable[Part], columns: Sequence[str]) -> Generator[Rows]:
    """Yield the rows of all parts, piece by piece, read in a thread while those before are used."""

    def read() -> Generator[Rows]:
        for number, of_file in itertools.groupby(parts, key=lambda part: part.group.file):
            with contextlib.closing(source.open(number)) as file:  # an open one keeps its last row group
                for part in of_file:
                    yield from map(to_rows, file.rows_of(part.group.index, columns, part.start, part.stop))

    some, waiting = read(), deque[Future[Rows | None]]()
    with contextlib.closing(some), ThreadPoolExecutor(1, "confide-table") as thread:
        try:
            waiting.extend(thread.submit(next, some, None) for _ in range(AHEAD))
            while (rows := waiting.popleft().result()) is not None:
                waiting.append(thread.submit(next, some, None))
                yield rows
        finally:
            for future in waiting:
                future.cancel()


def _shuffled(several: Iterable[Rows], random: torch.Generator, buffer_bytes: int) -> Iterator[Rows]:
    """Yield rows out of a buffer in random order; half of it stays to be mixed with what comes next."""
    pool, size = list[Rows](), 0
    for rows in several:
        pool.append(rows)
        size += rows.nbytes
        if size >= buffer_bytes:
            mixed = joined(pool)
            order = torch.randperm(mixed.count, generator=random)
            yield mixed.take(order[mixed.count // 2 :])
            pool = [mixed.take(order[: mixed.count // 2])]
            size = pool[0].nbytes
    if pool:
        mixed = joined(pool)
        yield mixed.take(torch.randperm(mixed.count, generator=random))


def _batches(several: Iterable[Rows], size: int) -> Iterator[Rows]:
    """Yield all rows, so many together; the last ones may be fewer."""
    rest: Rows | None = None
    for some in several:
        rows = some if rest is None else joined([rest, some])
        whole = rows.count - rows.count % size
        for start in range(0, whole, size):
            yield rows.slice(start, start + size)
        rest = rows.slice(whole, rows.count) if whole < rows.count else None
    if rest is not None:
        yield rest
