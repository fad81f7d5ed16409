"""Tables that a program reads itself, and outputs that it commits while it runs, in a real enclave."""

from __future__ import annotations

import importlib.util
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from confide.data.folders import decrypt_files
from confide.data.parquet import FileSizes
from confide.data.sealed import SealedReader
from confide.data.tables import encrypt_table
from confide.errors import FileChanged, FileMissing, FileUnlisted, NoGrant, NotEncrypted
from confide.keys.names import KeyName

from .conftest import Study

CANARY = "Zaphod-Beeblebrox-7391"
DECLARES = '# /// script\n# [tool.confide]\n# stream = ["data/patients"]\n# ///\n'
ROWS = """
from confide.training.sources import describe, source_at
source = source_at("data/patients")
schema, files = describe(source)
columns = [name for name in schema.names if source.readable(name)]
rows = [
    row
    for number, groups in enumerate(files)
    for index, count in enumerate(groups)
    for batch in source.open(number).rows_of(index, columns, 0, count)
    for row in batch.to_pylist()
]
"""


def _patients(study: Study) -> None:
    plain = study.root / "patients.parquet"
    frame = pd.DataFrame(
        {"id": range(100), "name": [f"{CANARY}-{i}" for i in range(100)], "ssn": ["1"] * 100}
    )
    frame.to_parquet(plain)
    (study.data / "data").mkdir()
    listing = encrypt_table(
        plain,
        study.data / "data/patients",
        study.keyset(),
        KeyName.parse("clinic/patients"),
        location="data/patients",
        columns={"ssn": KeyName.parse("clinic/identifiers")},
        sizes=FileSizes(row_group_rows=10, file_row_groups=2),
    )
    study.grant("data/patients", "read", "table", "clinic/patients", listing=listing)
    study.logs = "clinic/logs"


def _log(study: Study) -> str:
    logs = sorted((study.data / "confide-logs").iterdir())
    with logs[-1].open("rb") as file, SealedReader(file, study.keyset("clinic/logs")) as reader:
        return io.TextIOWrapper(reader).read()


def test_a_program_reads_a_table_itself_and_nothing_lies_there_in_clear(study: Study) -> None:
    _patients(study)
    program = f"""{DECLARES}{ROWS}
import os
print("rows", len(rows), sorted(rows[0]), rows[0]["name"])
files = sorted(p for p in os.listdir("data/patients") if p.endswith(".parquet"))
print("files", len(files), set(open(f"data/patients/{{p}}", "rb").read(4) for p in files))
for place in ("data/patients/x", "data/x", "/run/confide/program/x"):
    try:
        open(place, "w")
    except OSError as error:
        print("not written", type(error).__name__)
print("sees", sorted(os.listdir("/work")), sorted(os.listdir("/run/confide")))
"""
    assert study.run(program) == 0, _log(study)
    said = _log(study)
    assert f"rows 100 ['id', 'name'] {CANARY}-0" in said
    assert "files 5 {b'PARE'}" in said
    assert said.count("not written OSError") == 3
    assert "sees ['data'] ['group', 'program']" in said
    assert not study.mentions(CANARY)


def test_a_table_that_was_not_declared_is_not_streamed_and_plain_files_are_no_substitute(
    study: Study,
) -> None:
    _patients(study)
    assert study.run(ROWS) != 0
    said = _log(study)
    assert "NoGrant: data/patients is none of the tables that the program declares" in said
    assert CANARY not in said
    (study.data / "data/plain").mkdir()
    pd.DataFrame({"id": [1]}).to_parquet(study.data / "data/plain/a.parquet")
    assert study.run(ROWS.replace("data/patients", "data/plain")) != 0
    assert "NoGrant: data/plain is none of the tables" in _log(study)


def test_a_declared_table_must_be_granted(study: Study) -> None:
    _patients(study)
    with pytest.raises(NoGrant):
        study.run(DECLARES.replace("data/patients", "data/others") + ROWS)


KEYS = """
from confide.enclave.line_socket import ask
from pathlib import Path
for op in ("release", "secret", "refresh"):
    try:
        print(ask(Path("/run/confide/program/agent.sock"), {"op": op, "name": "x"}))
    except Exception as error:
        print("refused", type(error).__name__)
try:
    list(source.open(0).rows_of(0, ["ssn"], 0, 1))
except Exception as error:
    print("column", type(error).__name__)

memory = []
with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", buffering=0) as own:
    for line in list(maps):
        where, rights = line.split()[:2]
        if rights.startswith("rw"):
            start, end = (int(bound, 16) for bound in where.split("-"))
            try:
                own.seek(start)
                memory.append(own.read(end - start))
            except (OSError, OverflowError):
                pass
data_key = next(iter(source._table.keyset._unwrapped.values()))
named_key = bytes(byte ^ 255 for byte in bytes.fromhex("FLIPPED"))  # never there before the memory was read
print("data key", any(data_key in part for part in memory), "named key", any(named_key in part for part in memory))
print("agent", Path("/run/confide/agent.sock").exists())
"""


def test_a_program_never_holds_a_named_key(study: Study) -> None:
    _patients(study)
    flipped = bytes(byte ^ 255 for byte in study.keys["clinic/patients"]).hex()
    program = DECLARES + ROWS + KEYS.replace("FLIPPED", flipped)
    assert study.run(program, released=("clinic/patients", "clinic/logs")) == 0, _log(study)
    said = _log(study)
    assert said.count("refused Misuse") == 3
    assert "column UnknownKey" in said
    assert "data key True named key False" in said
    assert "agent False" in said


def _parts(study: Study) -> list[Path]:
    return sorted((study.data / "data/patients").glob("*.parquet"))


def _remove(parts: list[Path]) -> None:
    parts[4].unlink()


def _shorten(parts: list[Path]) -> None:
    parts[4].write_bytes(parts[4].read_bytes()[:-10])


def _swap(parts: list[Path]) -> None:
    parts[4].write_bytes(parts[1].read_bytes())


def _add(parts: list[Path]) -> None:
    (parts[0].parent / "more.parquet").write_bytes(parts[1].read_bytes())


def _in_clear(parts: list[Path]) -> None:
    pd.DataFrame({"id": [1], "name": ["x"]}).to_parquet(parts[4])


ATTACKS = {
    _remove: FileMissing,
    _shorten: FileChanged,
    _swap: FileChanged,
    _add: FileUnlisted,
    _in_clear: NotEncrypted,
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_table_that_is_not_what_was_committed_starts_no_program(study: Study, attack) -> None:
    _patients(study)
    attack(_parts(study))
    with pytest.raises(ATTACKS[attack]):
        study.run(f"{DECLARES}print('{CANARY} began')")
    assert "began" not in _log(study)


WAITS = """
import os, time
print("waiting", flush=True)
while not os.path.exists("data/patients/_go"):
    time.sleep(0.05)
"""


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_table_that_changes_while_the_program_runs_ends_it(study: Study, attack) -> None:
    _patients(study)

    def change(status) -> None:
        if status.get("state") == "started":
            attack(_parts(study))
            (study.data / "data/patients/_go").touch()

    program = DECLARES + WAITS + ROWS + "\nprint('rows', len(rows))"
    assert study.run(program, on_status=change) != 0
    said = _log(study)
    assert f"confide.errors.{ATTACKS[attack].__name__}" in said
    assert "rows" not in said.splitlines()[-1]


LARGE = """
import resource
import torch
from confide.training import EncryptedTable

torch.set_num_threads(1)
table = EncryptedTable("data/images", seed=1, batch_size=256, buffer_mib=16)
next(iter(table))  # what is there once stays
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
before = peak()
read = sum(batch["pixels"].numel() for batch in table)
print("read MiB", read // 2**20, "grew by MiB", peak() - before)
"""


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed here")
def test_a_table_larger_than_what_is_kept_of_it_passes_through(study: Study) -> None:
    rows, side = 2**16, 4096
    pixels = np.frombuffer(np.random.default_rng(1).bytes(rows * side), np.uint8)
    (study.data / "data").mkdir()
    plain = study.root / "images.parquet"
    images = pa.table({"pixels": pa.FixedSizeListArray.from_arrays(pa.array(pixels), side)})
    pq.write_table(images, plain, row_group_size=2**11)
    listing = encrypt_table(
        plain,
        study.data / "data/images",
        study.keyset(),
        KeyName.parse("clinic/patients"),
        location="data/images",
        sizes=FileSizes(row_group_rows=2**11, file_row_groups=8),
    )
    study.grant("data/images", "read", "table", "clinic/patients", listing=listing)
    study.logs = "clinic/logs"
    assert study.run(DECLARES.replace("data/patients", "data/images") + LARGE) == 0, _log(study)
    (found,) = re.findall(r"^read MiB 256 grew by MiB (\d+)$", _log(study), re.M)
    assert int(found) < 128


COMMITS = """
import os
from confide.enclave.program_socket import commit_output
for number in range(1, 4):
    with open(f"out/checkpoints/{number}", "w") as file:
        file.write("CANARY-" * number)
    if number == 3:
        os.unlink("out/checkpoints/1")
    print("serial", commit_output("out/checkpoints"), flush=True)
open("out/checkpoints/4", "w").write("never committed")
for location in ("out", "data/patients", "out/other"):
    try:
        commit_output(location)
    except Exception as error:
        print("refused", location, type(error).__name__, flush=True)
"""


@pytest.mark.parametrize("end", ["raise SystemExit(3)", "os.kill(os.getpid(), 9)"])
def test_what_a_program_commits_outlives_its_failure(study: Study, end: str, tmp_path: Path) -> None:
    _patients(study)
    study.grant("out/checkpoints", "write", "files", "clinic/results")
    assert study.run(COMMITS.replace("CANARY", CANARY) + end) != 0
    said = _log(study)
    assert [f"serial {n}" in said for n in (1, 2, 3)] == [True] * 3
    assert said.count("NoGrant") == 3
    listing = study.committed("out/checkpoints")
    assert [file.path for file in listing.files] == ["2", "3"]
    decrypt_files(study.data / "out/checkpoints", listing, study.keyset("clinic/results"), tmp_path / "plain")
    assert (tmp_path / "plain/3").read_text() == f"{CANARY}-" * 3
    assert not study.mentions(CANARY)


TRAINS = """
import torch
from torch.utils.data import DataLoader
from confide.training import Checkpoints, EncryptedTable

if __name__ == "__main__":
    table = EncryptedTable("data/patients", columns=["id"], seed=1)
    for workers in (0, 2):
        ids = [i for batch in DataLoader(table, batch_size=7, num_workers=workers) for i in batch["id"].tolist()]
        print("workers", workers, "each once", sorted(ids) == list(range(100)), "in order", ids == sorted(ids))
    checkpoints = Checkpoints("out/checkpoints", keep=2)
    state = checkpoints.load() or {"epoch": -1}
    print("from", state["epoch"])
    for epoch in range(state["epoch"] + 1, state["epoch"] + 4):
        checkpoints.save({"epoch": epoch, "weights": torch.full((1000,), float(epoch))})
    raise SystemExit(1)
"""


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed here")
def test_a_training_streams_its_table_and_goes_on_from_its_checkpoints(study: Study) -> None:
    _patients(study)
    study.grant("out/checkpoints", "write", "files", "clinic/results")
    assert study.run(DECLARES + TRAINS) == 1
    said = _log(study)
    assert "workers 0 each once True in order False" in said
    assert "workers 2 each once True in order False" in said
    assert "from -1" in said
    listing = study.committed("out/checkpoints")
    assert [file.path for file in listing.files] == ["checkpoint-00000002.pt", "checkpoint-00000003.pt"]
    older = {path.name: path.read_bytes() for path in (study.data / "out/checkpoints").iterdir()}
    study.grants.pop()
    study.grant("out/checkpoints", "write", "files", "clinic/results", listing=listing)
    assert study.run(DECLARES + TRAINS) == 1
    assert "from 2" in _log(study)

    newer = study.committed("out/checkpoints")
    assert newer.serial == 6
    folder = study.data / "out/checkpoints"
    for path in folder.iterdir():
        path.unlink()
    for name, data in older.items():
        (folder / name).write_bytes(data)
    study.grants.pop()
    study.grant("out/checkpoints", "write", "files", "clinic/results", listing=newer)
    with pytest.raises((FileMissing, FileChanged)):  # an older state of the location
        study.run(DECLARES + TRAINS)
