"""The Python examples: the same results on encrypted tables as on plain ones."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from confide.cli.demo_data import write_demo_data
from confide.errors import Unavailable
from confide.python.image_spec import image_profile

from .training_tables import digits

EXAMPLES = Path(__file__).parents[3] / "examples"
FILES = {"02_pandas": (), "03_sklearn": ("out/model",), "04_torch": ("out/model",)}
TABLES = {"02_pandas": "out/groups", "03_sklearn": "out/scores", "04_torch": "out/scores"}


@pytest.fixture(scope="module")
def patients(tmp_path_factory) -> pa.Table:
    folder = tmp_path_factory.mktemp("demo")
    write_demo_data(folder)
    return pyarrow.csv.read_csv(folder / "patients.csv")


@pytest.mark.parametrize("name", TABLES)
def test_same_result_as_plain(new_site, new_owner, patients, tmp_path, name):
    if name == "04_torch" and importlib.util.find_spec("torch") is None:
        pytest.skip("PyTorch is not installed here; the example needs it")
    source = EXAMPLES / f"{name}.py"
    assert "confide" not in "".join(line for line in source.read_text().splitlines() if "import" in line)
    (tmp_path / "data/patients").mkdir(parents=True)
    pq.write_table(patients, tmp_path / "data/patients/part.parquet")
    subprocess.run([sys.executable, str(source)], cwd=tmp_path, check=True)
    plain = pq.read_table(tmp_path / TABLES[name])

    site = new_site()
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(patients, site.data, "data/patients")
    image = site.build(source.read_text(), image_profile())
    written = [(TABLES[name], "write")]
    owner.allow(image, ("data/patients", "read"), *written, logs="clinic/data", files=FILES[name])
    assert site.run() == 0
    assert owner.read(site.data, TABLES[name]).equals(plain), site.log(owner)
    for location in FILES[name]:
        assert owner.store.listing_at("clinic", location).listing.files


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed here")
def test_ranks_that_train_together_reach_what_one_process_reaches(new_site, new_owner, tmp_path):
    source = EXAMPLES / "08_torch_ranks.py"
    assert "import confide" not in source.read_text()
    digits = load_digits(as_frame=True).frame.rename(columns={"target": "digit"})
    digits.insert(0, "id", range(len(digits)))
    (tmp_path / "data/digits").mkdir(parents=True)
    digits.to_parquet(tmp_path / "data/digits/part.parquet", index=False)
    command = [sys.executable, str(source), "--ranks=1"]
    alone = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    site = new_site()
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(pa.Table.from_pandas(digits, preserve_index=False), site.data, "data/digits")
    image = site.build(source.read_text(), image_profile())
    owner.allow(
        image, ("data/digits", "read"), ("out/scores", "write"), logs="clinic/data", files=("out/model",)
    )
    assert site.run("--ranks=2") == 0, site.log(owner)
    accuracy = float(alone.split()[-1])
    assert accuracy > 0.95
    assert float(site.log(owner).split()[-1]) == pytest.approx(accuracy, abs=0.01)
    assert owner.read(site.data, "out/scores").num_rows == 450


def _kill(site, *, one_rank: bool) -> None:
    """Kill all of a run, or the rank that was started last."""
    for pid in site.processes_below(b"spawn_main")[-1:] if one_rank else site.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.torch
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed here")
@pytest.mark.parametrize("one_rank", [False, True], ids=["the whole run", "one rank"])
def test_a_training_that_is_killed_goes_on_to_the_same_accuracy(new_site, new_owner, tmp_path, one_rank):
    source, epochs = EXAMPLES / "09_encrypted_images.py", "--epochs=12"
    for name, table in digits().items():
        (tmp_path / "data" / name).mkdir(parents=True)
        pq.write_table(table, tmp_path / "data" / name / "part.parquet")
    command = [sys.executable, str(source), "--ranks=1", epochs]
    alone = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    accuracy = float(alone.split()[-1])
    assert accuracy > 0.95

    site = new_site()
    owner = new_owner("clinic", site.broker("local"), site.root)
    for name, table in digits().items():
        owner.encrypt(table, site.data, f"data/{name}")
    image = site.build(source.read_text(), image_profile())
    inputs = ("data/train", "read"), ("data/test", "read")
    owner.allow(image, *inputs, logs="clinic/data", files=("out/checkpoints", "out/model"))

    def committed() -> int:
        stored = owner.store.listing_at("clinic", "out/checkpoints")
        return stored.listing.serial if stored else 0

    with ThreadPoolExecutor(1) as thread:
        run = thread.submit(site.run, "--ranks=2", epochs)
        while committed() < 3:
            assert not run.done(), site.log(owner)
            time.sleep(0.05)
        _kill(site, one_rank=one_rank)
        if one_rank:
            assert run.result(60) == 1
            assert "process 1 terminated with signal SIGKILL" in site.log(owner)
        else:
            with pytest.raises(Unavailable):
                run.result(60)
    assert site.gone()
    done = committed()
    shutil.rmtree(site.data / "confide-logs")  # of a run that was killed: it may have no end
    assert site.run("--ranks=2", epochs) == 0, site.log(owner)
    said = site.log(owner)
    assert f"from epoch {done}\n" in said
    assert float(said.split()[-1]) == pytest.approx(accuracy, abs=0.02)
    assert committed() >= 12
    assert owner.store.listing_at("clinic", "out/model").listing.files
    assert len(list((site.data / "out/checkpoints").glob("checkpoint-*.pt"))) == 2
