"""Tables as data sets of PyTorch, here of plain files: each row once an epoch, for whatever ranks and workers."""

from __future__ import annotations

import itertools
import os
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from confide.errors import Misuse

torch = pytest.importorskip("torch")
from confide.training import EncryptedTable  # noqa: E402 - needs torch

pytestmark = pytest.mark.torch
ROWS = 997


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three files with row groups of several sizes."""
    path = tmp_path_factory.mktemp("table")
    for number, (start, stop, size) in enumerate([(0, 500, 64), (500, 510, 64), (510, ROWS, 333)]):
        ids = pa.array(range(start, stop))
        pixels = pa.FixedSizeListArray.from_arrays(
            pa.array([i % 251 for i in range(start, stop) for _ in range(9)], pa.uint8()), 9
        )
        table = pa.table({"id": ids, "pixels": pixels})
        pq.write_table(table, path / f"part-{number}.parquet", row_group_size=size)
    return str(path)


def _ids(table) -> list[int]:
    ids = []
    for row in table:
        assert set(row["pixels"].tolist()) == {row["id"].item() % 251}
        ids.append(row["id"].item())
    return ids


def test_without_a_seed_rows_come_as_they_lie_there(folder):
    assert _ids(EncryptedTable(folder)) == list(range(ROWS))


@pytest.mark.parametrize("buffer_mib", [0, 64])
def test_a_seed_shuffles_and_each_epoch_otherwise(folder, buffer_mib):
    table = EncryptedTable(folder, seed=1, buffer_mib=buffer_mib)
    first, again = _ids(table), _ids(table)
    assert first == again
    table.set_epoch(1)
    second = _ids(table)
    other = _ids(EncryptedTable(folder, seed=2, buffer_mib=buffer_mib))
    orders = [list(range(ROWS)), first, second, other]
    assert all(a != b for a, b in itertools.combinations(orders, 2))
    assert all(sorted(order) == list(range(ROWS)) for order in orders)
    if buffer_mib:  # all rows fit: neighbours come from anywhere
        near = sum(abs(a - b) < 64 for a, b in itertools.pairwise(first))
        assert near < ROWS / 3


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("seed", [None, 5])
def test_ranks_and_workers_share_without_overlap_or_loss(folder, ranks, workers, seed):
    found, sizes = [], []
    for rank in range(ranks):
        table = EncryptedTable(folder, seed=seed, rank=rank, ranks=ranks)
        loader = torch.utils.data.DataLoader(table, batch_size=10, num_workers=workers)
        own = [i for batch in loader for i in batch["id"].tolist()]
        found += own
        sizes.append(len(own))
    assert sorted(found) == list(range(ROWS))
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_even_ranks_have_equally_many_rows_and_batches(folder, ranks):
    found, sizes, batches = [], set(), set()
    for rank in range(ranks):
        table = EncryptedTable(folder, seed=3, even=True, rank=rank, ranks=ranks)
        own = [batch["id"].tolist() for batch in torch.utils.data.DataLoader(table, batch_size=8)]
        sizes.add(sum(map(len, own)))
        batches.add(len(own))
        found += itertools.chain(*own)
    assert sizes == {ROWS // ranks}
    assert len(batches) == 1
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_that_stay_see_the_epoch(folder, context):
    table = EncryptedTable(folder, seed=1, batch_size=100)
    loader = torch.utils.data.DataLoader(
        table, batch_size=None, num_workers=1, persistent_workers=True, multiprocessing_context=context
    )
    epochs = []
    for epoch in (0, 1, 0):
        table.set_epoch(epoch)
        epochs.append([i for batch in loader for i in batch["id"].tolist()])
    assert epochs[0] == epochs[2] != epochs[1]
    assert all(sorted(ids) == list(range(ROWS)) for ids in epochs)


def test_batches_of_the_table_itself(folder):
    batches = list(EncryptedTable(folder, batch_size=100, seed=1))
    assert [len(batch["id"]) for batch in batches] == [100] * 9 + [97]
    assert batches[0]["pixels"].shape == (100, 9)
    assert sorted(i for batch in batches for i in batch["id"].tolist()) == list(range(ROWS))


def test_rank_and_size_of_an_initialized_group_are_taken(folder, tmp_path):
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        assert len(_ids(EncryptedTable(folder))) == ROWS
        assert len(_ids(EncryptedTable(folder, rank=1, ranks=4))) == 249
    finally:
        torch.distributed.destroy_process_group()


def test_a_reader_that_is_dropped_leaves_no_thread(folder):
    before = threading.active_count()
    rows = iter(EncryptedTable(folder))
    next(rows)
    rows.close()
    assert threading.active_count() == before


def test_one_file_is_open_at_a_time(folder):
    def files() -> int:
        paths = (os.path.realpath(one) for one in Path("/proc/self/fd").iterdir())
        return sum(path.startswith(folder) for path in paths)

    table = EncryptedTable(folder, seed=1, buffer_mib=0)
    assert files() == 0
    assert {files() for _ in table} <= {0, 1}
    assert files() == 0


def test_every_type(tmp_path):
    tensor = pa.fixed_shape_tensor(pa.float32(), [2, 3])
    flat = pa.FixedSizeListArray.from_arrays(pa.array([float(i) for i in range(18)], pa.float32()), 6)
    matrix = pa.FixedSizeListArray.from_arrays(
        pa.FixedSizeListArray.from_arrays(pa.array(range(12), pa.int16()), 2), 2
    )
    columns = {
        "flag": pa.array([True, False, True]),
        "small": pa.array([-1, 0, 1], pa.int8()),
        "half": pa.array([0.5, 1, 2], pa.float16()),
        "name": pa.array(["a", None, "c"]),
        "image": pa.array([b"\x89PNG", b"", b"x"]),
        "raw": pa.array([b"abcd", b"efgh", b"ijkl"], pa.binary(4)),
        "ragged": pa.array([[1.0], [], [2.0, 3.0]]),
        "matrix": matrix,
        "tensor": pa.ExtensionArray.from_storage(tensor, flat),
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    first, second, third = EncryptedTable(str(tmp_path))
    assert [row["flag"].item() for row in (first, second, third)] == [True, False, True]
    assert (first["small"].dtype, first["small"].item()) == (torch.int8, -1)
    assert (first["half"].dtype, first["half"].item()) == (torch.float16, 0.5)
    assert [row["name"] for row in (first, second)] == ["a", None]
    assert [row["image"] for row in (first, second)] == [b"\x89PNG", b""]
    assert bytes(second["raw"].tolist()) == b"efgh"
    assert [row["ragged"].tolist() for row in (first, second, third)] == [[1.0], [], [2.0, 3.0]]
    assert second["matrix"].tolist() == [[4, 5], [6, 7]]
    assert third["tensor"].tolist() == [[12, 13, 14], [15, 16, 17]]
    assert [row["kind"] for row in (first, second, third)] == ["x", "y", "x"]
    (batch,) = EncryptedTable(str(tmp_path), batch_size=8)
    assert batch["tensor"].shape == (3, 2, 3)
    assert batch["image"] == [b"\x89PNG", b"", b"x"]


def test_a_table_of_no_columns_is_not_an_empty_one(folder):
    with pytest.raises(Misuse, match="no column to read"):
        EncryptedTable(folder, columns=[])


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([1, None]), "nulls"),
        (pa.array([1.5, None]), "nulls"),
        (pa.array([[1], None]), "nulls"),
        (pa.array([[1, None], [2, 3]], pa.list_(pa.int64(), 2)), "nulls"),
    ],
)
def test_nulls_are_not_made_into_numbers(tmp_path, column, said):
    pq.write_table(pa.table({"x": column}), tmp_path / "a.parquet")
    with pytest.raises(Misuse, match=said):
        list(EncryptedTable(str(tmp_path)))


@pytest.mark.parametrize(
    "kind", [pa.timestamp("s"), pa.decimal128(5, 2), pa.struct({"a": pa.int8()}), pa.date32()]
)
def test_a_type_that_does_not_fit_is_named_at_once(tmp_path, kind):
    pq.write_table(pa.table({"x": pa.array([None], kind), "y": [1]}), tmp_path / "a.parquet")
    with pytest.raises(Misuse, match="'x'"):
        EncryptedTable(str(tmp_path))
    assert [row["y"].item() for row in EncryptedTable(str(tmp_path), columns=["y"])] == [1]


@pytest.mark.parametrize(
    "options",
    [
        {"columns": ["none"]},
        {"rank": 1},
        {"ranks": 2},
        {"rank": 2, "ranks": 2},
        {"rank": -1, "ranks": 2},
        {"batch_size": 0},
    ],
)
def test_what_makes_no_sense_is_refused(folder, options):
    with pytest.raises(Misuse):
        EncryptedTable(folder, **options)


def test_a_table_without_rows(tmp_path):
    pq.write_table(pa.table({"x": pa.array([], pa.int64())}), tmp_path / "a.parquet")
    assert list(EncryptedTable(str(tmp_path), seed=1)) == []
