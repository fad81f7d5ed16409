"""Ranks of PySpark's `TorchDistributor` read encrypted tables themselves, in executors and in the driver."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from confide.data.parquet import FileSizes
from confide.enclave.executors import run_job
from confide.enclave.image import Limits
from confide.errors import FileMissing, NoGrant, Unavailable

from .training_tables import digits

pytestmark = [
    pytest.mark.torch,
    pytest.mark.spark,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed here"),
]
PLAIN_SPARK = {
    **os.environ,
    "PYSPARK_PYTHON": sys.executable,
    "PYSPARK_SUBMIT_ARGS": "--master local[2] pyspark-shell",
}
SIZES = FileSizes(row_group_rows=100, file_row_groups=3)


def program(tables: list[str], *parts: str) -> str:
    declares = f"# /// script\n# [tool.confide]\n# stream = {json.dumps(tables)}\n# ///\n"
    return "\n".join((declares, *parts))


TRAIN = """
import json, os, time
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

def train(ranks):
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.utils.data import DataLoader
    from confide.training import EncryptedTable

    torch.set_num_threads(1)
    dist.init_process_group("BACKEND")
    rows = EncryptedTable("data/train", columns=["number"], seed=1)
    epochs = []
    for epoch in range(2):
        rows.set_epoch(epoch)
        batches = DataLoader(rows, batch_size=64, num_workers=1)
        epochs.append([number for batch in batches for number in batch["number"].tolist()])
    read = [None] * ranks
    dist.all_gather_object(read, epochs)

    torch.manual_seed(7)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    parallel = nn.parallel.DistributedDataParallel(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    rows = EncryptedTable("data/train", columns=["pixels", "label"], seed=1, batch_size=32, even=True)
    for epoch in range(10):
        rows.set_epoch(epoch)
        for batch in DataLoader(rows, batch_size=None):
            optimizer.zero_grad()
            nn.functional.cross_entropy(parallel(batch["pixels"] / 255), batch["label"]).backward()
            optimizer.step()
    right = torch.zeros(2)
    with torch.no_grad():
        for batch in EncryptedTable("data/test", columns=["pixels", "label"], batch_size=256):
            found = model(batch["pixels"] / 255).argmax(1)
            right += torch.tensor([(found == batch["label"]).sum(), len(found)])
    dist.all_reduce(right)
    dist.destroy_process_group()
    return read, (right[0] / right[1]).item()

def in_ranks(local_mode, function, *given):
    distributor = TorchDistributor(num_processes=2, local_mode=local_mode, use_gpu=False)
    return json.dumps(distributor.run(function, *given))
"""
SEES = """
def sees():
    import os
    from confide.enclave.program_socket import commit_output
    from confide.training import EncryptedTable

    found = {"refused": {}, "work": sorted(os.listdir("/work/data")), "agent": sorted(os.listdir("/run/confide"))}
    folder = "/work/data/train"
    tables = sorted(name for name in os.listdir(folder) if name.endswith(".parquet"))
    found["files"] = [open(f"{folder}/{name}", "rb").read(4).decode() for name in tables]
    for name, attempt in {
        "granted, not declared": lambda: EncryptedTable("data/others"),
        "not granted": lambda: EncryptedTable("data/secret"),
        "no table": lambda: EncryptedTable("data"),
        "commit": lambda: commit_output("out/scores"),
        "write": lambda: open(f"{folder}/x", "w"),
    }.items():
        try:
            found["refused"][name] = repr(attempt())
        except Exception as error:
            found["refused"][name] = type(error).__name__
    return found
"""
LIGHTNING = """
import json
from pyspark.ml.torch.distributor import TorchDistributor
from pyspark.sql import SparkSession

def train():
    import pytorch_lightning as lightning
    import torch
    import torch.distributed as dist
    from pytorch_lightning.callbacks import EarlyStopping
    from torch import nn
    from torch.utils.data import DataLoader
    from confide.training import EncryptedTable

    class Digits(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

        def step(self, batch):
            scores = self.model(batch["pixels"].float() / 255)
            right = (scores.argmax(1) == batch["label"]).float().mean()
            return nn.functional.cross_entropy(scores, batch["label"].long()), right

        def training_step(self, batch, _):
            return self.step(batch)[0]

        def validation_step(self, batch, _):
            loss, right = self.step(batch)
            self.log_dict({"loss": loss, "accuracy": right}, sync_dist=True, batch_size=len(batch["label"]))

        def on_validation_end(self):
            self.backend = dist.get_backend()

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01)

        def train_dataloader(self):
            return DataLoader(EncryptedTable("data/train", seed=1, even=True, batch_size=32), batch_size=None)

        def val_dataloader(self):
            return DataLoader(EncryptedTable("data/test", even=True, batch_size=64), batch_size=None)

    torch.set_num_threads(1)
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, num_nodes=2, strategy="ddp", max_epochs=40, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, use_distributed_sampler=False,
        callbacks=[EarlyStopping("loss", patience=2)],
    )
    module = Digits()
    trainer.fit(module)
    accuracy = trainer.callback_metrics["accuracy"].item()
    return module.backend, trainer.world_size, trainer.current_epoch, accuracy

if __name__ == "__main__":
    SparkSession.builder.getOrCreate()
    ranks = TorchDistributor(num_processes=2, local_mode=False, use_gpu=False)
    print("TRAINED", json.dumps(ranks.run(train)), flush=True)
"""
MAIN = """
if __name__ == "__main__":
    spark = SparkSession.builder.getOrCreate()
    for local_mode in (False, True):
        print("TRAINED", in_ranks(local_mode, train, 2), flush=True)
        if "sees" in globals():
            print("SEEN", in_ranks(local_mode, sees), flush=True)
    if "sees" in globals():
        print("others", spark.read.parquet("data/others").count(), flush=True)
"""


@pytest.fixture(scope="module")
def spark_with_torch(small_spark):
    return dataclasses.replace(small_spark, limits=Limits(memory_mib=3072, scratch_mib=64, cores=2))


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    made = digits()
    return {name: table.append_column("number", pa.array(range(len(table)))) for name, table in made.items()}


@pytest.fixture
def allowed(new_site, new_owner, spark_with_torch):
    """Encrypt tables, build images of a program, and allow them to read some of these."""

    def allow(source: str, encrypted: Mapping[str, pa.Table], read: list[str], *, executors: bool = True):
        site = new_site()
        owner = new_owner("clinic", site.broker("local"), site.root)
        for name, table in encrypted.items():
            owner.encrypt(table, site.data, f"data/{name}", SIZES)
        driver = site.build(source, spark_with_torch)
        executor = site.build_executor(source, spark_with_torch) if executors else None
        grants = [(f"data/{name}", "read") for name in read]
        owner.allow(driver, *grants, ("out/scores", "write"), logs="clinic/data", executor=executor)
        return site, owner

    return allow


def told(said: str, word: str) -> list[Any]:
    return [json.loads(line) for line in re.findall(rf"^{word} (.*)$", said, re.M)]


def run_watched(site, watch: Callable[[Mapping[str, Any]], None]) -> int:
    """Run the job with two executors, and have `watch` see each state when it is told."""
    return run_job(*site.members(), 2, watch)


@pytest.fixture(scope="module")
def plain(tmp_path_factory, tables) -> float:
    """The accuracy that the program reaches on plain files, in plain Spark."""
    folder = tmp_path_factory.mktemp("plain")
    for name, table in tables.items():
        (folder / "data" / name).mkdir(parents=True)
        pq.write_table(table, folder / f"data/{name}/part.parquet", row_group_size=100)
    source = program([], TRAIN.replace("BACKEND", "gloo"), MAIN.replace("(False, True)", "(False,)"))
    (folder / "job.py").write_text(source)
    command = [sys.executable, "job.py"]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, env=PLAIN_SPARK)
    ((_, accuracy),) = told(done.stdout, "TRAINED")
    assert accuracy > 0.9
    return accuracy


def test_ranks_share_tables_out_and_train_on_them(allowed, tables, plain):
    source = program(["data/test", "data/train"], TRAIN.replace("BACKEND", "confide"), SEES, MAIN)
    others = {"others": tables["test"], "secret": tables["test"]}
    site, owner = allowed(source, {**tables, **others}, ["train", "test", "others"])
    code = site.run_job()
    logs = site.logs(owner)
    assert code == 0, "\n".join(logs)
    (said,) = [log for log in logs if "TRAINED" in log]

    (in_executors, reached), (in_driver, again) = told(said, "TRAINED")
    assert in_executors == in_driver  # the same seed, epochs and ranks
    assert reached == pytest.approx(again, abs=0.01)
    assert reached == pytest.approx(plain, abs=0.03)
    every = list(range(len(tables["train"])))
    for one, other in zip(*in_executors, strict=True):
        assert sorted(one + other) == every
        assert abs(len(one) - len(other)) <= 1
        assert one != sorted(one)
    assert in_executors[0][0] != in_executors[0][1]

    executor, driver = told(said, "SEEN")
    assert executor["agent"] == ["group", "program"]
    for seen in (executor, driver):
        assert seen["work"] == ["test", "train"]
        assert len(seen["files"]) > 1
        assert set(seen["files"]) == {"PARE"}
        assert seen["refused"] == {
            "granted, not declared": "NoGrant",
            "not granted": "NoGrant",
            "no table": "NoGrant",
            "commit": "NoGrant",
            "write": "OSError",
        }
    assert f"others {len(tables['test'])}\n" in said


def _remove(parts: list[Path]) -> None:
    parts[1].unlink()


def _shorten(parts: list[Path]) -> None:
    parts[1].write_bytes(parts[1].read_bytes()[:-10])


def _swap(parts: list[Path]) -> None:
    parts[1].write_bytes(parts[0].read_bytes())


def _add(parts: list[Path]) -> None:
    (parts[0].parent / "more.parquet").write_bytes(parts[0].read_bytes())


def _in_clear(parts: list[Path]) -> None:
    pq.write_table(pa.table({"number": [1]}), parts[1])


def _flip(parts: list[Path]) -> None:
    data = bytearray(parts[1].read_bytes())
    data[len(data) // 3] ^= 1
    parts[1].write_bytes(data)


ATTACKS = {
    "remove": (_remove, "FileMissing"),
    "shorten": (_shorten, "FileChanged"),
    "swap": (_swap, "FileChanged"),
    "add": (_add, "FileUnlisted"),
    "clear": (_in_clear, "NotEncrypted"),
    "flip": (_flip, "Tampered"),
}
READS = """
def read(tables):
    from confide.training import EncryptedTable

    found = {}
    for table in tables:
        try:
            found[table] = sum(1 for _ in EncryptedTable(f"data/{table}", rank=0, ranks=1))
        except Exception as error:
            found[table] = type(error).__name__
    return found

def main(local_modes, tables, go):
    spark = SparkSession.builder.getOrCreate()
    while go and not os.path.exists(go):
        time.sleep(0.05)
    for local_mode in local_modes:
        print("FOUND", in_ranks(local_mode, read, tables), flush=True)
"""


def _parts(site, name: str) -> list[Path]:
    return sorted((site.data / "data" / name).glob("*.parquet"))


def test_tables_that_change_while_the_job_runs(allowed, tables):
    names = [*ATTACKS, "left"]
    call = f"main([False, True], {names}, 'data/left/_go')"
    source = program([f"data/{name}" for name in names], TRAIN, READS, call)
    site, owner = allowed(source, dict.fromkeys(names, tables["test"]), names)
    began = set()

    def change(status: Mapping[str, Any]) -> None:
        if status.get("state") == "started" and "executor" in status:
            began.add(status["executor"])
            if len(began) == 2:
                for name, (attack, _) in ATTACKS.items():
                    attack(_parts(site, name))
                (site.data / "data/left/_go").touch()

    code = run_watched(site, change)
    logs = site.logs(owner)
    assert code == 0, "\n".join(logs)
    (said,) = [log for log in logs if "FOUND" in log]
    expected = {name: error for name, (_, error) in ATTACKS.items()}
    assert told(said, "FOUND") == [{**expected, "left": len(tables["test"])}] * 2


def test_without_executors_in_tasks_of_the_driver_s_enclave(allowed, tables):
    source = program(["data/test"], TRAIN, READS, "main([False], ['test', 'others'], None)")
    site, owner = allowed(
        source, dict.fromkeys(("test", "others"), tables["test"]), ["test", "others"], executors=False
    )
    code = site.run()
    (said,) = site.logs(owner)
    assert code == 0, said
    assert told(said, "FOUND") == [{"test": len(tables["test"]), "others": "NoGrant"}]


STARTS = """
print("BEGAN", flush=True)
SparkSession.builder.getOrCreate().range(9).count()
"""


def test_a_table_that_is_not_granted_starts_no_program(allowed, tables):
    source = program(["data/secret"], TRAIN, STARTS)
    site, owner = allowed(source, {"secret": tables["test"]}, [], executors=False)
    with pytest.raises(NoGrant):
        site.run()
    (said,) = site.logs(owner)
    assert "NoGrant: the program reads data/secret itself" in said
    assert "BEGAN" not in said


def test_an_executor_to_which_storage_shows_something_else_does_not_start(allowed, tables):
    source = program(["data/test"], TRAIN, STARTS)
    site, owner = allowed(source, {"test": tables["test"]}, ["test"])

    def change(status: Mapping[str, Any]) -> None:
        if status.get("state") == "opened":
            _parts(site, "test")[0].unlink()

    with pytest.raises(FileMissing):
        run_watched(site, change)
    assert any("BEGAN" in log for log in site.logs(owner))


def test_an_executor_that_has_another_state_of_a_table_than_its_driver_gets_no_work(allowed, tables):
    source = program(["data/test"], TRAIN, STARTS)
    site, owner = allowed(source, {"test": tables["test"]}, ["test"])

    def change(status: Mapping[str, Any]) -> None:
        if status.get("state") == "opened":
            owner.commit_again("data/test")

    with pytest.raises(Unavailable, match="too many executors were lost"):
        run_watched(site, change)
    refused = (
        "spark.confide.streamed=.* would weaken the protection: ranks would read different states of a table"
    )
    assert re.search(refused, "\n".join(site.logs(owner)))


@pytest.mark.skipif(
    importlib.util.find_spec("pytorch_lightning") is None, reason="Lightning is not installed here"
)
def test_a_lightning_module_is_trained_in_executors(allowed, tables):
    source = program(["data/test", "data/train"], LIGHTNING)
    site, owner = allowed(source, tables, ["train", "test"])
    code = site.run_job()
    logs = site.logs(owner)
    assert code == 0, "\n".join(logs)
    ((backend, ranks, epochs, accuracy),) = told("\n".join(logs), "TRAINED")
    assert (backend, ranks) == ("confide", 2)
    assert epochs < 40
    assert accuracy > 0.9
