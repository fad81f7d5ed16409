"""Epochs over a table of images, in turn from plain Parquet by loaders over pyarrow and from an encrypted table.

`python -m benchmarks.training.epoch ROWS ROUNDS` prints JSON: comparison -> side -> seconds of each epoch.
"""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch.utils.data import DataLoader, IterableDataset

from confide.data.parquet import TableReader
from confide.data.tables import encrypt_table
from confide.enclave.program_socket import SOCKET, ProgramSocket, StreamedTable, streamed_table
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName
from confide.training import EncryptedTable
from confide.training.sources import EncryptedSource

KEY = KeyName("clinic", "images")
PIXELS, BATCH = 784, 256


class Rows(IterableDataset[Any]):
    """What people write over pyarrow: a row at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for pixels, labels in _arrays(self._path):
            for row in range(len(labels)):
                yield {"pixels": pixels[row], "label": labels[row]}


class Batches(IterableDataset[Any]):
    """The same, a batch at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for pixels, labels in _arrays(self._path, BATCH):
            yield {"pixels": torch.tensor(pixels), "label": torch.tensor(labels)}


def _arrays(path: Path, rows: int = 65_536) -> Iterator[tuple[Any, Any]]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(rows, columns=["pixels", "label"]):
            yield batch["pixels"].flatten().to_numpy().reshape(-1, PIXELS), batch["label"].to_numpy()


def main() -> None:
    rows, rounds = map(int, sys.argv[1:3])
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        plain, encrypted = _tables(folder, rows)
        sides: dict[str, dict[str, Callable[[], DataLoader[Any]]]] = {
            "rows": {
                "pyarrow": lambda: DataLoader(Rows(plain), batch_size=BATCH),
                "plain": lambda: DataLoader(EncryptedTable(str(plain)), batch_size=BATCH),
                "encrypted": lambda: DataLoader(encrypted(None), batch_size=BATCH),
            },
            "batches": {
                "pyarrow": lambda: DataLoader(Batches(plain), batch_size=None),
                "plain": lambda: DataLoader(EncryptedTable(str(plain), batch_size=BATCH), batch_size=None),
                "encrypted": lambda: DataLoader(encrypted(BATCH), batch_size=None),
            },
        }
        seconds: dict[str, dict[str, list[float]]] = {
            what: {side: [] for side in of} for what, of in sides.items()
        }
        for number in range(rounds + 1):
            for what, of in sides.items():
                for side, make in of.items():
                    loader = make()
                    start = time.perf_counter()
                    seen = sum(len(batch["label"]) for batch in loader)
                    if number:  # the first round warms up
                        seconds[what][side].append(time.perf_counter() - start)
                    assert seen == rows
    print(json.dumps(seconds))


def _tables(folder: Path, rows: int) -> tuple[Path, Callable[[int | None], EncryptedTable]]:
    """Return a plain file, and what opens the encrypted table of the same rows and row groups through an agent."""
    random = np.random.default_rng(1)
    pixels = random.integers(0, 256, (rows, PIXELS), dtype=np.uint8) * (random.random((rows, PIXELS)) < 0.2)
    columns = {
        "pixels": pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), PIXELS),
        "label": pa.array(random.integers(0, 10, rows)),
    }
    pq.write_table(pa.table(columns), folder / "source.parquet")
    held = Keyset({KEY: NamedKey(KEY, 1, {1: secrets.token_bytes(32)})})
    listing = encrypt_table(folder / "source.parquet", folder / "table", held, KEY, location="data/images")
    plain = folder / "plain.parquet"
    reader = TableReader(folder / "table", listing, held)
    with pq.ParquetWriter(plain, reader.schema(), compression="zstd") as writer:
        for listed in listing.files:
            with reader.open(listed) as file:
                for index, count in enumerate(file.row_groups):
                    batches = list(file.rows_of(index, ["pixels", "label"], 0, count))
                    group = pa.Table.from_batches(batches).cast(reader.schema())
                    writer.write_table(group, row_group_size=max(1, count))
    table = StreamedTable(folder / "table", listing, frozenset({str(KEY)}), held)
    ProgramSocket(folder / "program", {"data/images": table}, commit=lambda _: 0, progress=lambda *_: None)

    def opened(batch_size: int | None) -> EncryptedTable:
        source = EncryptedSource(streamed_table("data/images", folder / "program" / SOCKET))
        with mock.patch("confide.training.table.source_at", return_value=source):  # it is no image here
            return EncryptedTable("data/images", batch_size=batch_size)

    return plain, opened


if __name__ == "__main__":
    main()
