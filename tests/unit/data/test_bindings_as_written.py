"""What a listing says of a file comes from the bytes as they were written, whatever storage shows afterwards."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from confide.broker.release import Access, Grant
from confide.data.listing import Format
from confide.data.listing_io import check_file
from confide.data.parquet import TableKeys, write_table
from confide.errors import FileChanged
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName
from confide.python.encrypt import Output, encrypt_files

KEY = KeyName.parse("clinic/k")
KEYS = Keyset({KEY: NamedKey(KEY, 1, {1: bytes(range(32))})})
TABLE = "1" * 32


class _Storage:
    """Puts `old` in place of what is being written, on the writer's own inode, once the writer has begun."""

    def __init__(self, folder: Path, old: bytes) -> None:
        self.folder, self.old, self.done = folder, old, False

    def swap(self) -> None:
        for path in self.folder.rglob("*"):
            if path.is_file() and not self.done:
                path.write_bytes(self.old)
                self.done = True


def _swapping_sync(monkeypatch: pytest.MonkeyPatch, storage: _Storage) -> None:
    real: Callable[[int], None] = os.fsync

    def sync(descriptor: int) -> None:
        real(descriptor)
        storage.swap()

    monkeypatch.setattr(os, "fsync", sync)  # where a slow disk gives storage all the time it wants


def test_a_sealed_file_that_storage_swaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    view, stages = tmp_path / "view", [tmp_path / "old", tmp_path / "new"]
    (view / "out").mkdir(parents=True)
    grant = Grant(owner="clinic", location="out", access=Access.WRITE, format=Format.FILES, key=str(KEY))
    (view / "out" / "a.txt").write_text("version 1")
    first = encrypt_files(
        Output(grant, KEYS, TABLE, view, stages[0]), ["out/a.txt"], frozenset(["out/a.txt"]), {}
    )
    storage = _Storage(stages[1], (stages[0] / "a.txt").read_bytes())
    _swapping_sync(monkeypatch, storage)
    (view / "out" / "a.txt").write_text("version 2")
    second = encrypt_files(
        Output(grant, KEYS, TABLE, view, stages[1]), ["out/a.txt"], frozenset(["out/a.txt"]), {}
    )
    assert storage.done
    assert second[0].binding != first[0].binding
    with (stages[1] / "a.txt").open("rb") as file, pytest.raises(FileChanged):
        check_file(file, second[0], Format.FILES)


def test_a_table_file_that_storage_swaps(tmp_path: Path) -> None:
    stages = [tmp_path / "old", tmp_path / "new"]
    for stage in stages:
        stage.mkdir()
    schema = pa.schema([("v", pa.int64())])
    keys = TableKeys(KEYS, TABLE, KEY, {})
    first = write_table(_rows(schema, 1), schema, stages[0], keys)
    old = (stages[0] / first[0].path).read_bytes()
    stop = threading.Event()
    swapper = threading.Thread(target=_swap_names, args=(stages[1], old, stop))
    swapper.start()
    try:
        listed = write_table(_rows(schema, 2), schema, stages[1], keys)
    finally:
        stop.set()
        swapper.join()
    assert {file.binding for file in listed}.isdisjoint({file.binding for file in first})


def _rows(schema: pa.Schema, value: int) -> list[pa.RecordBatch]:
    return [pa.record_batch([pa.array([value] * 10)], schema=schema)]


def _swap_names(folder: Path, old: bytes, stop: threading.Event) -> None:
    """Give every name in the folder to another file as soon as it appears."""
    while not stop.is_set():
        for path in folder.glob("*.parquet"):
            other = path.with_name(".old")
            other.write_bytes(old)
            other.replace(path)
