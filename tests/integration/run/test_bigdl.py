"""BigDL 2.4 and Orca on Spark 3.5, unmodified: the results of plain programs, on an encrypted table, models sealed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from confide.data.sealed import SealedReader
from confide.enclave.image import SITE, Limits
from confide.spark.engine import SPARK35, installed
from confide.spark.image_spec import image_profile

pytestmark = [
    pytest.mark.spark,
    pytest.mark.timeout(900),
    pytest.mark.skipif(installed() is not SPARK35, reason="Spark 3.5 has an environment of its own"),
]

EVENTS = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": "sealed:///work/out/events"}
EXAMPLES = Path(__file__).parents[3] / "examples"
MADE = {
    "11_bigdl_lenet.py": ("lenet", {"lenet", "loaded", "classifier"}),
    "14_bigdl_orca.py": ("orca", {"frame", "loaded", "shards"}),
}
"""Name of the model, and what is printed."""
CLUSTER = {"spark.master": "local-cluster[2,1,1024]"}


def digits() -> pa.Table:
    found = load_digits()
    pixels = pa.array((found.data / 16).tolist(), pa.list_(pa.float32()))
    return pa.table({"id": range(len(found.target)), "pixels": pixels, "label": found.target.astype(float)})


def said(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^(\w+) accuracy (0\.\d+|1\.0+)$", text, re.M)}


def opened(path: Path, owner) -> bytes:
    with path.open("rb") as file, SealedReader(file, owner.keyset) as reader:
        return bytes(reader.readall())


def plain(example: Path, folder: Path, packages: Path) -> str:
    """Run an example as anybody does, with the packages that its image holds."""
    (folder / "data/digits").mkdir(parents=True)
    pq.write_table(digits(), folder / "data/digits/part.parquet")
    environment = {**os.environ, "PYTHONPATH": str(packages), "PYSPARK_PYTHON": sys.executable}
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def executors(events: bytes) -> set[str]:
    """Return where tasks ran, by Spark's log of events."""
    lines = map(json.loads, events.splitlines())
    return {line["Task Info"]["Executor ID"] for line in lines if line["Event"] == "SparkListenerTaskEnd"}


@pytest.mark.parametrize(
    ("name", "settings", "ran"),
    [
        pytest.param("11_bigdl_lenet.py", {}, {"driver"}, id="local mode"),
        pytest.param("11_bigdl_lenet.py", CLUSTER, {"1", "2"}, id="two executors", marks=pytest.mark.slow),
        pytest.param("14_bigdl_orca.py", {}, {"driver"}, id="orca, local mode", marks=pytest.mark.slow),
        pytest.param(
            "14_bigdl_orca.py", CLUSTER, {"1", "2"}, id="orca, two executors", marks=pytest.mark.slow
        ),
    ],
)
def test_same_result_as_plain(new_site, new_owner, cache, tmp_path, name, settings, ran):
    example, (model, printed) = EXAMPLES / name, MADE[name]
    program = example.read_text()
    assert "import confide" not in program
    site = new_site()
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(digits(), site.data, "data/digits")
    (site.data / "out/events").mkdir(parents=True)
    lock = example.with_name(f"{name}.lock").read_text()
    (site.root / "app/job.py.lock").write_text(lock)
    limits = Limits(memory_mib=4096, scratch_mib=1024, cores=2)
    profile = image_profile(cache / "jvm")
    image = site.build(program, profile, limits=limits, settings={**settings, **EVENTS})
    grants = ("data/digits", "read"), ("out/scores", "write"), ("out/weights", "write")
    owner.allow(image, *grants, logs="clinic/data", files=("out/model", "out/events"))
    assert site.run() == 0, site.log(owner)
    log = site.log(owner)
    home = {
        Path(row["path"]).name: row["content"] for row in owner.read(site.data, "out/weights").to_pylist()
    }
    for file in (f"{model}.bigdl", f"{model}.bin"):
        assert opened(site.data / "out/model" / file, owner) == home[file]
        assert len(home[file]) > 1000
    assert not list(site.data.rglob("bigdl.log"))
    (events,) = (site.data / "out/events").iterdir()
    assert executors(opened(events, owner)) == ran
    expected, found = said(plain(example, tmp_path, site.folder / "root" / SITE.lstrip("/"))), said(log)
    assert found.keys() == expected.keys() == printed, log
    for what, value in expected.items():
        assert value > 0.85
        assert found[what] == pytest.approx(value, abs=0.04), what
