"""Files that programs read besides those that come with PySpark: of the form they expect, of our own content."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq

PEOPLE = (("Maria", None), ("Amir", 30), ("Jules", 19))
USERS = pa.table(
    {
        "name": ["Alice", "Bela"],
        "favorite_color": [None, "red"],
        "favorite_numbers": pa.array([[3, 9, 15], []], pa.list_(pa.int32())),
    }
)
SENT = b"good bad good word happy word good\n"


def write_resources(folder: Path) -> None:
    """Write what Spark's source has under `examples/src/main/resources`, which its wheel has not."""
    folder.mkdir(parents=True)
    people = [{"name": name, **({"age": age} if age else {})} for name, age in PEOPLE]
    (folder / "people.json").write_text("".join(f"{json.dumps(each)}\n" for each in people))
    (folder / "people.txt").write_text("".join(f"{name}, {age or 29}\n" for name, age in PEOPLE))
    (folder / "people.csv").write_text("name;age;job\nJorge;30;Developer\nRobin;32;Developer\n")
    (folder / "kv1.txt").write_text("".join(f"{i * 7 % 100}\x01val_{i * 7 % 100}\n" for i in range(500)))
    pq.write_table(USERS, folder / "users.parquet")
    pyarrow.orc.write_table(USERS, str(folder / "users.orc"))
    for number, name in ((1, "dir1/file1.parquet"), (2, "dir1/dir2/file2.parquet")):
        (folder / name).parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"file": [f"file{number}.parquet"]}), folder / name)
    (folder / "dir1/file3.json").write_text('{"file":"corrupt.json"}\n')
    draw = np.random.default_rng(1)
    points = draw.normal(size=(200, 10))
    labels = np.where(points @ draw.normal(size=10) > 0, 1, -1)
    rows = (" ".join(map(str, [label, *point])) for label, point in zip(labels, points, strict=True))
    (folder / "points.txt").write_text("\n".join(rows) + "\n")
    rows = (" ".join(map(str, [max(0, label), *point])) for label, point in zip(labels, points, strict=True))
    (folder / "labelled.txt").write_text("\n".join(rows) + "\n")
    (folder / "words.txt").write_text("china spark india data china river\n" * 20)


def write_points(path: Path, rows: int = 2000) -> None:
    """Write the table that our own programs learn from."""
    draw = np.random.default_rng(7)
    features = draw.normal(size=(rows, 6))
    score = features @ np.array([2.0, -1.0, 0.5, 0.0, 0.0, 1.0]) + draw.normal(scale=0.5, size=rows)
    table = pd.DataFrame(features, columns=[f"f{i}" for i in range(6)])
    table["id"] = range(rows)
    table["label"] = (score > 0).astype(float)
    table["amount"] = np.round(score * 100 + 500, 3)
    table["kind"] = draw.choice(["a", "b", "c"], size=rows)
    table["user"], table["item"] = draw.integers(0, 40, rows), draw.integers(0, 60, rows)
    table["day"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(draw.integers(0, 90, rows), unit="D")
    table.to_parquet(path, index=False, coerce_timestamps="us")


@contextlib.contextmanager
def words() -> Iterator[int]:
    """Serve the same words to everybody who connects, as `nc -lk` would; yield the port."""
    held = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = server.accept()
                held.append(client)
                client.sendall(SENT)

    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as server:
        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        for client in held:
            client.close()
