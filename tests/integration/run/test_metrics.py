"""Metrics that a training writes for TensorBoard and MLflow leave sealed, while it runs, and its owner sees them."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from confide.data.folders import decrypt_files
from confide.python.image_spec import image_profile

PROGRAM = """
from torch.utils.tensorboard import SummaryWriter
from confide.enclave.program_socket import commit_output

with SummaryWriter("out/runs/first") as metrics:
    for step in range(20):
        metrics.add_scalar("loss/known-tag", 1.5 / (step + 1), step)
        if step == 9:
            metrics.flush()
            print("committed", commit_output("out/runs"))
"""
MLFLOW = """
import os
os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
import mlflow
from mlflow.telemetry.utils import is_telemetry_disabled

mlflow.set_tracking_uri("file:out/mlruns")
mlflow.set_experiment("digits")
with mlflow.start_run(run_name="first"):
    mlflow.log_params({"rate": 0.01})
    mlflow.log_text("a first try", "about.txt")
    for step in range(20):
        mlflow.log_metric("known-tag", 1.5 / (step + 1), step=step)
print("tells its maker nothing:", is_telemetry_disabled())
"""
LOOK = """
import json, sys
from mlflow import MlflowClient

client = MlflowClient("file:" + sys.argv[1])
(run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
print(json.dumps([run.info.run_name, run.data.params, [
    (metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, "known-tag")
]]))
"""
pytestmark = pytest.mark.torch


def needs(*modules):
    """Skip where one is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed here: {', '.join(missing)}")


@needs("torch", "tensorboard")
def test_metrics_leave_sealed_and_the_owner_sees_them(new_site, new_owner, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    site = new_site()
    owner = new_owner("clinic", site.broker("local"), site.root)
    image = site.build(PROGRAM, image_profile())
    owner.allow(image, logs="clinic/data", files=("out/runs",))
    assert site.run() == 0, site.log(owner)
    assert "committed 1" in site.log(owner)
    stored = owner.store.listing_at("clinic", "out/runs").listing
    assert stored.serial == 2
    files = [path for path in (site.data / "out/runs").rglob("*") if path.is_file()]
    assert files
    assert not any(b"known-tag" in path.read_bytes() for path in files)
    decrypt_files(site.data / "out/runs", stored, owner.keyset, tmp_path / "runs")
    seen = EventAccumulator(str(tmp_path / "runs/first"))
    seen.Reload()
    found = [(event.step, event.value) for event in seen.Scalars("loss/known-tag")]
    assert found == [(step, pytest.approx(1.5 / (step + 1))) for step in range(20)]


@needs("mlflow")
def test_runs_of_mlflow_leave_sealed_and_the_owner_sees_them(new_site, new_owner, tmp_path):
    site = new_site()
    owner = new_owner("clinic", site.broker("local"), site.root)
    image = site.build(MLFLOW, image_profile())
    owner.allow(image, logs="clinic/data", files=("out/mlruns",))
    assert site.run() == 0, site.log(owner)
    assert "tells its maker nothing: True" in site.log(owner)
    stored = owner.store.listing_at("clinic", "out/mlruns").listing
    files = [path for path in (site.data / "out/mlruns").rglob("*") if path.is_file()]
    assert files
    assert not any(b"0.75" in path.read_bytes() for path in files)
    decrypt_files(site.data / "out/mlruns", stored, owner.keyset, tmp_path / "runs")
    seen = subprocess.run(
        [sys.executable, "-c", LOOK, str(tmp_path / "runs")],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "DO_NOT_TRACK": "true"},
    )
    name, parameters, history = json.loads(seen.stdout)
    assert (name, parameters) == ("first", {"rate": "0.01"})
    assert history == [[step, pytest.approx(1.5 / (step + 1))] for step in range(20)]
