"""One, two and four ranks on encrypted tables reach what one plain process reaches.

`pytest -m "torch and slow" -rP tests/integration/run/test_accuracy.py` prints accuracies and times.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from confide.python.image_spec import image_profile

from .training_tables import TABLES

EXAMPLES = Path(__file__).parents[3] / "examples"
RANKS = (1, 2, 4)
pytestmark = [
    pytest.mark.torch,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed here"),
]


@pytest.mark.parametrize(
    ("example", "tables", "least", "margin"),
    [
        ("09_encrypted_images", "digits", 0.95, 0.02),
        ("09_encrypted_images", "mnist", 0.95, 0.02),
        ("10_patients", "patients", 0.95, 0.03),
        ("13_transformer", "texts", 0.8, 0.04),
    ],
)
@pytest.mark.timeout(1800)
def test_ranks_reach_what_one_plain_process_reaches(
    new_site, new_owner, tmp_path, example, tables, least, margin
):
    source = EXAMPLES / f"{example}.py"
    made = TABLES[tables]()
    for name, table in made.items():
        (tmp_path / "data" / name).mkdir(parents=True)
        pq.write_table(table, tmp_path / "data" / name / "part.parquet")
    start = time.monotonic()
    command = [sys.executable, str(source), "--ranks=1"]
    said = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    plain = float(said.split()[-1])
    told = [f"{tables}: plain, one process {time.monotonic() - start:.0f} s, {plain:.3f}"]
    assert plain >= least

    for ranks in RANKS:
        site = new_site()
        owner = new_owner("clinic", site.broker("local"), site.root)
        for name, table in made.items():
            owner.encrypt(table, site.data, f"data/{name}")
        image = site.build(source.read_text(), image_profile())
        inputs = ("data/train", "read"), ("data/test", "read")
        owner.allow(image, *inputs, logs="clinic/data", files=("out/checkpoints", "out/model"))
        start = time.monotonic()
        assert site.run(f"--ranks={ranks}") == 0, site.log(owner)
        accuracy = float(site.log(owner).split()[-1])
        told.append(f"{ranks} ranks {time.monotonic() - start:.0f} s, {accuracy:.3f}")
        assert accuracy == pytest.approx(plain, abs=margin), told
    print("; ".join(told))
