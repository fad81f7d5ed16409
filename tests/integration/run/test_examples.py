"""The Python examples: the same results on encrypted tables as on plain ones."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from confide.cli.demo_data import write_demo_data
from confide.python.image_spec import image_profile

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
